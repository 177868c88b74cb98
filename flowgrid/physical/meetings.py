"""By which of a join's key pairs the rows of both sides meet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flowgrid.physical.joins import JoinKeys
from flowgrid.physical.partitioning import Hashed, key_text
from flowgrid.physical.stage_book import Pipeline, StageBook


@dataclass(frozen=True)
class Meeting:
    """Which key pairs the rows of both sides meet by; `targets` where a side is spread so already."""

    pairs: tuple[int, ...]
    targets: int | None = None


def choose_meeting(book: StageBook, sides: Mapping[str, Pipeline], keys: JoinKeys) -> Meeting:
    """All pairs, or those by which a side is hashed already: both sides, else the larger."""
    found: list[tuple[str, Meeting]] = []
    for name in sorted(sides, key=lambda name: -book.bytes_of(sides[name].node)):
        how = sides[name].partitioning
        if isinstance(how, Hashed):
            texts = key_texts(keys, name)
            for alternative in sorted(how.keys):
                pairs = _pairs(alternative, how.types, texts, keys.types)
                if pairs is not None:
                    found.append((name, Meeting(pairs, how.targets)))
    of_both = [one for name, one in found if any(n != name and other == one for n, other in found)]
    of_one = [one for _, one in found]
    return next(iter(of_both + of_one), Meeting(tuple(range(len(keys.types)))))


def key_texts(keys: JoinKeys, name: str) -> tuple[str, ...]:
    return tuple(key_text(key) for key in (keys.left if name == "left" else keys.right))


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
