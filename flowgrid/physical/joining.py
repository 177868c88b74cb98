"""Joins: one side sent whole to the other, or both met by hash, by real size where it can be known."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from flowgrid.config import MIB
from flowgrid.expr.tree import column
from flowgrid.logical.nodes import Distinct, Join, JoinKind, Named, Node, Project
from flowgrid.physical.changes import of_join, of_reduction
from flowgrid.physical.exchanges import Pending, StageRead
from flowgrid.physical.joins import MAY_BROADCAST_LEFT, MAY_BROADCAST_RIGHT, JoinKeys, join_keys
from flowgrid.physical.meetings import Meeting, choose_meeting, key_texts
from flowgrid.physical.partitioning import Hashed, Partitioning, Single, Spread
from flowgrid.physical.planning import Planning
from flowgrid.physical.reduction import (
    REDUCES,
    Descent,
    Reduced,
    descend,
    partners_of,
    superset,
)
from flowgrid.physical.stage_book import Pipeline, StageBook, all_of

_GUESS_ERROR = 8.0
"""How far a side may turn out below its estimate: up to so many times the broadcast limit it is worth
finishing its stage first and looking at its real size."""

_FEWER = 4
"""A fold waits for the rows that will meet its groups if these are fewer by this factor."""


_PARTNERS_PAY_BELOW = 0.5
"""Rows with a partner per row above which it costs more to look for partners than to send all rows."""

_ALL_HAVE_PARTNERS = 0.9
"""Rows with a partner per row, as estimated, above which a side is taken to have only such rows."""

_ONCE_PAYS_BELOW = 0.5
"""Different rows per row above which it costs more to find equal ones than to send them."""


def plan_join(planner: Planning, node: Join) -> Pipeline:
    """The cheapest way in which matching rows can meet."""
    sides: dict[str, Pipeline] = {}
    keys = planner.decided(("keys", node), partial(join_keys, node))
    inputs = {"left": node.left, "right": node.right}
    if keys is not None:
        few = planner.decided(("few", node), partial(_few, planner, node, keys))
        if few is not None:
            inputs[_other(few)] = _reduced(planner, node, keys, few)
    for name, input_ in inputs.items():
        with contextlib.suppress(Pending):
            sides[name] = planner.pipeline(input_)
    if len(sides) < 2:
        if keys is not None:
            _begin_early(planner, node, sides, keys)
        raise Pending
    small = [planner.book.settled(side) for side in sides.values()]
    if all(isinstance(side.partitioning, Single) for side in small):
        return Pipeline(_smaller_right(planner.book, _over(node, *small)), Single())
    if keys is None:
        return _without_keys(planner, node, sides)
    meeting = planner.decided(("meeting", node), partial(choose_meeting, planner.book, sides, keys))
    join = _KeyedJoin(planner, node, sides, keys, meeting)
    if not (join.is_met("left") and join.is_met("right")):
        way = planner.decided(("way", node), join.way)
        if way in sides:
            return _broadcast(planner, node, sides, way)
        filtering = planner.decided(("filter", node), join.filtering)
        if filtering is not None:
            join.filter_by(*filtering)
    met = all_of(partial(join.met, "left"), partial(join.met, "right"))
    how = _after(node.kind, met[0].partitioning, met[1].partitioning)
    return Pipeline(_smaller_right(planner.book, _over(node, *met)), how)


def _few(planner: Planning, node: Join, keys: JoinKeys) -> str | None:
    """The side, if there is one, that is worth waiting for because the other then folds much less."""
    book, config = planner.book, planner.book.shape.config
    if config.planner_force_exchanges:
        return None
    for name, kinds in REDUCES.items():
        descent = _descent(planner, node, keys, name)
        if node.kind not in kinds or descent.folds is None:
            continue
        few = _input(node, _other(name))
        if (
            book.bytes_of(descent.node) >= config.planner_reduce_bytes_min
            and book.bytes_of(few) <= config.planner_broadcast_bytes_max
            and book.rows_of(few) * _FEWER <= book.rows_of(descent.folds)
        ):
            return _other(name)
    return None


def _reduced(planner: Planning, node: Join, keys: JoinKeys, few: str) -> Node:
    """The other side, of rows with a partner only, if the partners are as few as was thought."""
    book, many = planner.book, _other(few)
    sides = {few: planner.pipeline(_input(node, few))}
    meeting = planner.decided(("meeting", node), partial(choose_meeting, book, sides, keys))
    inputs = (node.left, node.right)
    planner.decided(
        ("targets", node),
        lambda: meeting.targets or book.shape.target_count(sum(map(book.bytes_of, inputs))),
    )
    join = _KeyedJoin(planner, node, sides, keys, meeting)
    if not join.is_below(few, book.shape.config.planner_broadcast_bytes_max):
        return _input(node, many)

    def make() -> Node:
        read = join.read(few)
        assert read is not None
        descent = _descent(planner, node, keys, many)
        partners = partners_of(read, keys.right if few == "right" else keys.left)
        assert descent.folds is not None
        book.changes += of_reduction(descent.folds.describe(), read.exchange)
        return descent.rebuilt(Reduced(descent.node, descent.keys, partners, keys.comparisons))

    return planner.rewritten("reduced", node, make)


def _descent(planner: Planning, node: Join, keys: JoinKeys, name: str) -> Descent:
    own = keys.left if name == "left" else keys.right
    return descend(_input(node, name), own, planner.is_shared)


def _input(node: Join, name: str) -> Node:
    return node.left if name == "left" else node.right


def _begin_early(planner: Planning, node: Join, sides: dict[str, Pipeline], keys: JoinKeys) -> None:
    """While one side waits for stages, the other can begin its own, if it will be broadcast surely."""
    config = planner.book.shape.config
    for name, side in sides.items():
        waiting = node.left if name == "right" else node.right
        limit = min(
            config.planner_broadcast_bytes_max,
            planner.book.bytes_of(waiting) / planner.book.shape.slots,
        )
        sure = (
            node.kind in _MAY_BROADCAST[name]
            and planner.book.bytes_of(side.node) <= limit / _GUESS_ERROR
        )
        if sure and not isinstance(side.node, StageRead) and not config.planner_force_exchanges:
            meeting = planner.decided(
                ("meeting", node), partial(choose_meeting, planner.book, sides, keys)
            )
            planner.decided(("small", node), partial(str, name))
            _KeyedJoin(planner, node, sides, keys, meeting).stage(name)


def _over(node: Join, left: Pipeline, right: Pipeline) -> Join:
    return dataclasses.replace(node, left=left.node, right=right.node)


def _smaller_right(book: StageBook, join: Join) -> Node:
    """The join with its smaller side on the right, which is the one that the kernel builds."""
    turns = join.kind in (JoinKind.INNER, JoinKind.CROSS)
    if not turns or book.bytes_of(join.left) >= book.bytes_of(join.right):
        return join
    turned = dataclasses.replace(join, left=join.right, right=join.left)
    return Project(turned, tuple(Named(name, column(name)) for name in join.columns))


@dataclass(frozen=True)
class _KeyedJoin:
    """A join whose rows meet by hash, unless one side is small."""

    planner: Planning
    node: Join
    sides: dict[str, Pipeline]
    keys: JoinKeys
    meeting: Meeting

    def way(self) -> str:
        """The side to broadcast, or "hash". `Pending` if only real sizes tell."""
        config = self.planner.book.shape.config
        allowed = [name for name, kinds in _MAY_BROADCAST.items() if self.node.kind in kinds]
        if not allowed or config.planner_force_exchanges:
            return "hash"
        small = self._smaller(allowed)
        large_bytes = self._bytes(_other(small))
        limit = min(
            config.planner_broadcast_bytes_max,
            max(MIB, large_bytes / self.planner.book.shape.slots),
        )
        is_smaller = self._bytes(small) <= max(MIB, large_bytes)
        is_below = is_smaller and self.is_below(small, limit)
        read = self.read(small)
        if read is not None:
            text = self.node.describe()
            self.planner.book.changes += of_join(text, read.exchange, is_below, limit)
        return small if is_below else "hash"

    def _smaller(self, allowed: Sequence[str]) -> str:
        return self.planner.decided(("small", self.node), lambda: min(allowed, key=self._bytes))

    def filtering(self) -> tuple[str, StageRead] | None:
        """The side whose keys the other is filtered by before it travels, if it is small enough, and the
        stage that they are in. The side itself may be planned otherwise when more sizes are known.

        Of a semi, anti or left join the right side's rows without a partner are of no use to
        anybody, but the left side cannot be broadcast; its keys can.
        """
        if self.node.kind is JoinKind.INNER:
            return self._filtering_inner()
        if self.node.kind not in (JoinKind.SEMI, JoinKind.ANTI, JoinKind.LEFT, JoinKind.RIGHT):
            return None
        small = "right" if self.node.kind is JoinKind.RIGHT else "left"
        config = self.planner.book.shape.config
        if config.planner_force_exchanges or self.is_met(_other(small)):
            return None
        limit = min(config.planner_broadcast_bytes_max, self._bytes(_other(small)) / 2)
        if self.is_met(small):
            partners = self._partners(small)
        else:
            partners = self.read(small) if self.is_below(small, limit) else None
        if partners is None or not _is_at_most(partners, limit):
            return None
        return (small, partners) if self._kept(small, partners) < _ALL_HAVE_PARTNERS else None

    def _filtering_inner(self) -> tuple[str, StageRead] | None:
        """The smaller side, if it was waited for, is too large to be sent whole, and has few keys."""
        book, config = self.planner.book, self.planner.book.shape.config
        small = self._smaller(("left", "right"))
        if config.planner_force_exchanges or self.is_met(_other(small)):
            return None
        partners = self._partners(small)
        if partners is None or partners.exact_size is None:
            return None
        if book.bytes_of(self.sides[_other(small)].node) < config.planner_reduce_bytes_min:
            return None
        pays = self._kept(small, partners) <= _PARTNERS_PAY_BELOW
        keys = self._reduced_by(partners, small).partners
        is_light = book.bytes_of(keys) <= config.planner_broadcast_bytes_max
        return (small, partners) if pays and is_light else None

    def _kept(self, small: str, partners: StageRead) -> float:
        """Of the other side's rows, the part that has a partner in the small one."""
        side, rows_of = self.sides[_other(small)].node, self.planner.book.rows_of
        return rows_of(self._reduced_by(partners, small).over(side)) / max(1.0, rows_of(side))

    def _partners(self, small: str) -> StageRead | None:
        """A stage's rows with all keys of a side: its own, or one below where its rows have met."""
        if not self.is_met(small):
            return self.read(small)
        own = self.keys.left if small == "left" else self.keys.right
        return superset(self.sides[small].node, own)

    def filter_by(self, small: str, partners: StageRead) -> None:
        """Keep of the other side only rows whose keys the small one has."""
        side = self.sides[_other(small)]
        kept = self._reduced_by(partners, small).over(side.node)
        rows = self.planner.book.rows_of(side.node)
        self.sides[_other(small)] = Pipeline(kept, side.partitioning)
        fewer = self.stage(_other(small)).node
        assert isinstance(fewer, StageRead)
        self.planner.book.filtered(fewer.exchange, partners.exchange, rows)

    def _reduced_by(self, partners: StageRead, small: str) -> Reduced:
        """The other side's rows with keys of the small one."""
        own, other = (self.keys.left, self.keys.right)
        if small == "left":
            own, other = other, own
        side = self.sides[_other(small)].node
        return Reduced(side, own, partners_of(partners, other), self.keys.comparisons)

    def is_met(self, name: str) -> bool:
        """Whether a side's rows are where the meeting wants them."""
        how = self.sides[name].partitioning
        wanted = tuple(key_texts(self.keys, name)[pair] for pair in self.meeting.pairs)
        return (
            isinstance(how, Hashed)
            and how.targets == self.meeting.targets
            and wanted in how.keys
            and how.types == self._types
            and self.planner.book.known((self.node, name)) is None
        )

    def met(self, name: str) -> Pipeline:
        """One side, hashed by the meeting's pairs."""
        return self.sides[name] if self.is_met(name) else self.stage(name)

    @property
    def _types(self) -> tuple[str, ...]:
        return tuple(self.keys.types[pair] for pair in self.meeting.pairs)

    def _bytes(self, name: str) -> float:
        return self.planner.book.bytes_of(self.sides[name].node)

    def is_below(self, name: str, limit: float) -> bool:
        """Whether a side really has at most so many bytes; its stage is made to find out.

        The stage is hashed by the join's keys, so that it serves whatever is decided then.
        """
        read = self.read(name)
        if read is None:
            if self._bytes(name) > limit * _GUESS_ERROR:
                return False
            self.stage(name)
            read = self.read(name)
            assert read is not None
        return _is_at_most(read, limit)

    def read(self, name: str) -> StageRead | None:
        """A side as a stage has written it or will; None if it has no stage of its own."""
        made = self.planner.book.known((self.node, name)) is not None
        read = self.stage(name).node if made else self.sides[name].node
        return read if isinstance(read, StageRead) else None

    def stage(self, name: str) -> Pipeline:
        """One side in a stage of its own, hashed by the meeting's pairs."""
        book, node = self.planner.book, self.node
        targets = self.planner.decided(
            ("targets", node),
            lambda: (
                self.meeting.targets or book.shape.target_count(sum(map(self._bytes, self.sides)))
            ),
        )
        own = self.keys.left if name == "left" else self.keys.right
        chosen = [own[pair] for pair in self.meeting.pairs]
        return book.hashed((node, name), self._travelling(name), chosen, self._types, targets)

    def _travelling(self, name: str) -> Node:
        """A side's rows; each once per task where only their being there matters, if that pays."""
        source = self.sides[name].node
        if name == "left" or self.node.kind not in (JoinKind.SEMI, JoinKind.ANTI):
            return source
        once = Distinct(source)
        rows = self.planner.book.rows_of
        return once if rows(once) < _ONCE_PAYS_BELOW * rows(source) else source


def _is_at_most(read: StageRead, limit: float) -> bool:
    if read.exact_size is None:
        raise Pending
    return read.exact_size.bytes <= limit


def _other(name: str) -> str:
    return "left" if name == "right" else "right"


_MAY_BROADCAST = {"right": MAY_BROADCAST_RIGHT, "left": MAY_BROADCAST_LEFT}


def _broadcast(planner: Planning, node: Join, sides: dict[str, Pipeline], small: str) -> Pipeline:
    exchange = planner.book.known((node, small))
    if exchange is not None:
        whole: Node = planner.book.read(exchange, sides[small].node, broadcast=True)
    else:
        whole = planner.book.broadcast((node, small, "whole"), sides[small])
    if small == "right":
        tree = _over(node, sides["left"], Pipeline(whole, Spread()))
        return Pipeline(_smaller_right(planner.book, tree), sides["left"].partitioning)
    tree = _over(node, Pipeline(whole, Spread()), sides["right"])
    return Pipeline(_smaller_right(planner.book, tree), sides["right"].partitioning)


def _without_keys(planner: Planning, node: Join, sides: dict[str, Pipeline]) -> Pipeline:
    """No equality to meet by: the smaller side goes everywhere, or everything to one task."""
    allowed = [name for name, kinds in _MAY_BROADCAST.items() if node.kind in kinds]
    if allowed:
        small = planner.decided(
            ("small", node),
            lambda: min(allowed, key=lambda name: planner.book.bytes_of(sides[name].node)),
        )
        return _broadcast(planner, node, sides, small)
    planner.book.notes.append(f"gathered to one task: {node.describe()} has no equality to hash by")
    left, right = all_of(
        *(partial(planner.book.gathered, (node, name), side) for name, side in sides.items())
    )
    return Pipeline(dataclasses.replace(node, left=left.node, right=right.node), Single())


def _after(kind: JoinKind, left: Partitioning, right: Partitioning) -> Partitioning:
    """How the joined rows are spread: a side that can be NULL-extended is hashed by nothing."""
    assert isinstance(left, Hashed)
    assert isinstance(right, Hashed)
    kept: frozenset[tuple[str, ...]] = frozenset()
    if kind not in (JoinKind.RIGHT, JoinKind.FULL):
        kept |= left.keys
    if kind in (JoinKind.INNER, JoinKind.RIGHT):
        kept |= right.keys
    return Hashed(kept, left.types, left.targets) if kept else Spread()
