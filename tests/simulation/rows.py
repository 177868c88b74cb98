"""What tasks compute: pure functions on rows, and rows are numbers that nobody can forge by accident.

A row is a 64-bit number mixed from everything that it was made of, so a row that is lost, doubled or
taken from another version of its input changes the answer. A task that is not deterministic mixes in a
`salt` that every attempt draws anew; blocks remember which version of such a task they rest on.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

_MASK = (1 << 64) - 1

Rows: TypeAlias = tuple[int, ...]
"""In any order: only which rows there are, and how often, has a meaning."""

Blocks: TypeAlias = tuple[Rows, ...]
"""What one attempt writes: rows per target."""


@dataclasses.dataclass(frozen=True, slots=True)
class Version:
    """Which of its possible outputs a task wrote: the salt that was drawn, and what came of it."""

    salt: int
    digests: tuple[int, ...]


Lineage: TypeAlias = Mapping[tuple[int, int], Version]
"""By stage and partition: the versions of tasks that are not deterministic, however far upstream."""


MIXED = (-1, -1)
"""In a lineage: these rows rest on two versions of one task."""


def mix(*parts: int) -> int:
    """A number that depends on every part and on their order."""
    mixed = 0x9E3779B97F4A7C15
    for part in parts:
        mixed = ((mixed ^ part) * 0xBF58476D1CE4E5B9) & _MASK
        mixed ^= mixed >> 29
    return mixed


def digest(rows: Rows) -> int:
    """The same for any order of rows."""
    return sum(mix(row) for row in rows) & _MASK


@dataclasses.dataclass(frozen=True, slots=True)
class Recipe:
    """What the tasks of a stage do with the rows of their inputs.

    "source" makes `count` rows per partition, "each" turns every row into another, "join" combines
    each row of the first input with all rows of the others, "fold" makes one row of everything.
    """

    kind: str
    key: int
    count: int = 0
    deterministic: bool = True

    def run(self, partition: int, inputs: Sequence[Rows], salt: int) -> Rows:
        key = mix(self.key, salt)
        match self.kind:
            case "source":
                count = self.count + (salt + partition) % 3
                return tuple(mix(key, partition, index) for index in range(count))
            case "each":
                return tuple(mix(key, row) for rows in inputs for row in rows)
            case "join":
                others = sum(digest(rows) for rows in inputs[1:])
                return tuple(mix(key, row, others) for row in inputs[0])
        everything = [digest(rows) for rows in inputs]
        return (mix(key, partition, *everything),)


def split(rows: Rows, target_count: int) -> Blocks:
    """Rows to the targets they belong to; low targets get more than their share."""
    if target_count == 1:
        return (rows,)
    targets: list[list[int]] = [[] for _ in range(target_count)]
    for row in rows:
        targets[(row >> 7) % (row % target_count + 1)].append(row)
    return tuple(map(tuple, targets))


def merge(lineages: Iterable[Lineage]) -> Lineage:
    """What rows rest on that were made of several blocks; with `MIXED` where they do not agree."""
    merged: dict[tuple[int, int], Version] = {}
    for lineage in lineages:
        for task, version in lineage.items():
            if merged.setdefault(task, version).digests != version.digests:
                merged[MIXED] = Version(0, ())
    return merged
