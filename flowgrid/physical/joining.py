"""Joins: one side sent whole to the other, or both met by hash, by real size where it can be known."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from flowgrid.config import MIB
from flowgrid.logical.nodes import Join, JoinKind, Node
from flowgrid.physical.exchanges import Pending, StageRead
from flowgrid.physical.joins import MAY_BROADCAST_LEFT, MAY_BROADCAST_RIGHT, JoinKeys, join_keys
from flowgrid.physical.partitioning import Hashed, Partitioning, Single, Spread, key_text
from flowgrid.physical.planning import Planning
from flowgrid.physical.stage_book import Pipeline, all_of, bytes_of

_GUESS_ERROR = 8.0
"""How far a side may turn out below its estimate: up to so many times the broadcast limit it is worth
finishing its stage first and looking at its real size."""


@dataclass(frozen=True)
class Meeting:
    """Which key pairs the rows of both sides meet by, and which sides are spread that way already."""

    pairs: tuple[int, ...]
    targets: int | None = None
    there: frozenset[str] = frozenset()


def plan_join(planner: Planning, node: Join) -> Pipeline:
    """The cheapest way in which matching rows can meet."""
    left, right = all_of(
        partial(planner.pipeline, node.left), partial(planner.pipeline, node.right)
    )
    sides = {"left": left, "right": right}
    here = dataclasses.replace(node, left=left.node, right=right.node)
    if all(isinstance(side.partitioning, Single) for side in sides.values()):
        return Pipeline(here, Single())
    keys = join_keys(here)
    if keys is None:
        return _without_keys(planner, node, sides)
    meeting = planner.decided(("meeting", node), partial(_meeting, sides, keys))
    if len(meeting.there) == 2:
        return Pipeline(here, _after(node.kind, sides))
    way = planner.decided(("way", node), partial(_way, planner, node, sides, keys, meeting))
    if way in sides:
        return _broadcast(planner, node, sides, way)
    met = all_of(*(partial(_hashed, planner, node, sides, name, keys, meeting) for name in sides))
    tree = dataclasses.replace(node, left=met[0].node, right=met[1].node)
    return Pipeline(tree, _after(node.kind, dict(zip(sides, met, strict=True))))


def _meeting(sides: dict[str, Pipeline], keys: JoinKeys) -> Meeting:
    """All pairs, or those by which a side is hashed already: the larger side's if both are."""
    texts = {
        "left": tuple(key_text(key) for key in keys.left),
        "right": tuple(key_text(key) for key in keys.right),
    }
    found: list[Meeting] = []
    for name in sorted(sides, key=lambda name: -bytes_of(sides[name].node)):
        how = sides[name].partitioning
        if not isinstance(how, Hashed):
            continue
        for alternative in sorted(how.keys):
            pairs = _pairs(alternative, how.types, texts[name], keys.types)
            if pairs is not None:
                found.append(Meeting(pairs, how.targets, frozenset([name])))
    for one in found:
        for other in found:
            if one.pairs == other.pairs and one.targets == other.targets:
                there = one.there | other.there
                if len(there) == 2:
                    return dataclasses.replace(one, there=there)
    return found[0] if found else Meeting(tuple(range(len(keys.types))))


def _pairs(
    alternative: Sequence[str], types: Sequence[str], texts: Sequence[str], wanted: Sequence[str]
) -> tuple[int, ...] | None:
    """The key pairs that an existing partitioning's keys are, in its order; None if one is no key."""
    pairs = []
    for text, type_ in zip(alternative, types, strict=True):
        index = next((i for i, key in enumerate(texts) if key == text and wanted[i] == type_), None)
        if index is None:
            return None
        pairs.append(index)
    return tuple(pairs)


def _way(
    planner: Planning, node: Join, sides: dict[str, Pipeline], keys: JoinKeys, meeting: Meeting
) -> str:
    """ "left" or "right" for the side to broadcast, or "hash". `Pending` if only real sizes tell."""
    allowed = [name for name, kinds in _MAY_BROADCAST.items() if node.kind in kinds]
    if not allowed or planner.book.shape.config.planner_force_exchanges:
        return "hash"
    small = planner.decided(
        ("small", node), lambda: min(allowed, key=lambda name: bytes_of(sides[name].node))
    )
    large = sides["left" if small == "right" else "right"]
    limit = min(
        planner.book.shape.config.planner_broadcast_bytes_max,
        max(MIB, bytes_of(large.node) / planner.book.shape.slots),
    )
    read = sides[small].node
    if not isinstance(read, StageRead):
        if bytes_of(read) > limit * _GUESS_ERROR:
            return "hash"
        # Its stage is hashed by the join's keys, so that it serves whatever is decided then.
        read = _stage_of(planner, node, sides, small, keys, meeting).node
        assert isinstance(read, StageRead)
    if read.exact_size is None:
        raise Pending
    return small if read.exact_size.bytes <= limit else "hash"


_MAY_BROADCAST = {"right": MAY_BROADCAST_RIGHT, "left": MAY_BROADCAST_LEFT}


def _hashed(
    planner: Planning,
    node: Join,
    sides: dict[str, Pipeline],
    name: str,
    keys: JoinKeys,
    meeting: Meeting,
) -> Pipeline:
    """One side, hashed by the meeting's pairs: as it is, where it is spread that way already."""
    if name in meeting.there and planner.book.known((node, name)) is None:
        return sides[name]
    return _stage_of(planner, node, sides, name, keys, meeting)


def _stage_of(
    planner: Planning,
    node: Join,
    sides: dict[str, Pipeline],
    name: str,
    keys: JoinKeys,
    meeting: Meeting,
) -> Pipeline:
    """One side in a stage of its own, hashed by the meeting's pairs."""
    book = planner.book
    targets = planner.decided(
        ("targets", node),
        lambda: (
            meeting.targets
            or book.shape.target_count(sum(bytes_of(side.node) for side in sides.values()))
        ),
    )
    own = keys.left if name == "left" else keys.right
    chosen = [own[pair] for pair in meeting.pairs]
    types = [keys.types[pair] for pair in meeting.pairs]
    return book.hashed((node, name), sides[name].node, chosen, types, targets)


def _broadcast(planner: Planning, node: Join, sides: dict[str, Pipeline], small: str) -> Pipeline:
    exchange = planner.book.known((node, small))
    if exchange is not None:
        whole: Node = planner.book.read(exchange, sides[small].node, broadcast=True)
    else:
        whole = planner.book.broadcast((node, small, "whole"), sides[small])
    if small == "right":
        tree = dataclasses.replace(node, left=sides["left"].node, right=whole)
        return Pipeline(tree, sides["left"].partitioning)
    tree = dataclasses.replace(node, left=whole, right=sides["right"].node)
    return Pipeline(tree, sides["right"].partitioning)


def _without_keys(planner: Planning, node: Join, sides: dict[str, Pipeline]) -> Pipeline:
    """No equality to meet by: the smaller side goes everywhere, or everything to one task."""
    allowed = [name for name, kinds in _MAY_BROADCAST.items() if node.kind in kinds]
    if allowed:
        small = planner.decided(
            ("small", node), lambda: min(allowed, key=lambda name: bytes_of(sides[name].node))
        )
        return _broadcast(planner, node, sides, small)
    planner.book.notes.append(f"gathered to one task: {node.describe()} has no equality to hash by")
    left, right = all_of(
        *(partial(planner.book.gathered, (node, name), side) for name, side in sides.items())
    )
    return Pipeline(dataclasses.replace(node, left=left.node, right=right.node), Single())


def _after(kind: JoinKind, sides: dict[str, Pipeline]) -> Partitioning:
    """How the joined rows are spread: a side that can be NULL-extended is hashed by nothing."""
    left, right = sides["left"].partitioning, sides["right"].partitioning
    assert isinstance(left, Hashed)
    assert isinstance(right, Hashed)
    kept: frozenset[tuple[str, ...]] = frozenset()
    if kind not in (JoinKind.RIGHT, JoinKind.FULL):
        kept |= left.keys
    if kind in (JoinKind.INNER, JoinKind.RIGHT):
        kept |= right.keys
    return Hashed(kept, left.types, left.targets) if kept else Spread()
