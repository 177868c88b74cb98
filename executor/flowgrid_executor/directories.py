"""Pure: which of an executor's local directories is written to, and which is not any more.

Attempts take turns in the directories: several disks are there for their bandwidth, and the most free
one would get all the work of a machine whose disks differ in size. One with little room is left out as
long as another has more. One that is broken is excluded for as long as the executor lives; its blocks
are still looked for there, and what cannot be read is computed again elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.messages import ExecutorLeft
from flowgrid_executor.events import Action, ExcludeDirectory, Exit, Send
from flowgrid_executor.executor_setup import spill_name

LITTLE_ROOM = 0.1
"""Of a directory's file system: with less of it free, others are preferred."""

CORRUPT_MAX = 2
"""Attempts whose blocks were found corrupt in one directory. One may be a cosmic ray."""

FULL_PAUSE_S = 30.0
"""What was full is left out for so long whatever is free then: the room that a failed attempt gives
back is not enough for the next one."""


class _Directory(msgspec.Struct):
    path: str
    room: float = 1.0
    full_until: float = 0.0
    corrupt: int = 0
    excluded: str = ""

    def has_room(self, now: float) -> bool:
        return self.room >= LITTLE_ROOM and now >= self.full_until


class LocalDirectories:
    """At least one of them; a poor one is better than none."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._directories = [_Directory(path) for path in paths]
        self._turn = 0

    def choose(self, now: float, refused: Collection[str] = ()) -> str:
        """For the blocks of an attempt that has failed in those that it `refused`."""
        candidates = self._candidates(now, refused)
        self._turn += 1
        return candidates[self._turn % len(candidates)].path

    def places(self, slot: int, now: float, refused: Collection[str]) -> tuple[str, str]:
        """For the blocks of an attempt, and for what its slot spills: that is the same from attempt to
        attempt as long as nothing changes, because a kernel does not like to move."""
        candidates = self._candidates(now, refused)
        spill = candidates[slot % len(candidates)].path
        return self.choose(now, refused), f"{spill}/{spill_name(slot)}"

    def any_other(self, refused: Collection[str]) -> bool:
        """Whether what has failed in those directories can be tried in another."""
        return any(not one.excluded and one.path not in refused for one in self._directories)

    def measured(self, room: Sequence[float]) -> None:
        """How much of each directory's file system is free, from 0 to 1; nothing is no news."""
        for one, free in zip(self._directories, room, strict=False):
            one.room = free

    def failed(self, path: str, failure: Failure, now: float) -> list[Action]:
        """An attempt could not write there ("" is nowhere). With the last one the executor goes."""
        one = self._named(path)
        if one is None:
            return []
        if failure.kind is not FailureKind.DISK_BAD:
            one.full_until = now + FULL_PAUSE_S
            return []
        return self._exclude(one, failure.message)

    def corrupt(self, path: str) -> list[Action]:
        """What an attempt wrote there ("" is nowhere) is not what readers found. The last directory
        stays: whether the executor is of any use is for the scheduler to say."""
        one = self._named(path)
        if one is None:
            return []
        one.corrupt += 1
        if one.corrupt < CORRUPT_MAX or not self.any_other([path]):
            return []
        return self._exclude(one, f"blocks of {one.corrupt} attempts were found corrupt there")

    def excluded(self) -> tuple[str, ...]:
        """The directories that are excluded, each with its reason, for people."""
        return tuple(f"{one.path}: {one.excluded}" for one in self._directories if one.excluded)

    def _named(self, path: str) -> _Directory | None:
        return next((one for one in self._directories if one.path == path), None)

    def _exclude(self, one: _Directory, reason: str) -> list[Action]:
        if one.excluded:
            return []
        one.excluded = reason.partition("\n")[0]
        said: list[Action] = [ExcludeDirectory(one.path, one.excluded)]
        if not all(other.excluded for other in self._directories):
            return said
        last = f"no local directory is left; {'; '.join(self.excluded())}"
        return [*said, Send(ExecutorLeft(last)), Exit(last, True)]

    def _candidates(self, now: float, refused: Collection[str]) -> list[_Directory]:
        """The best there are: not excluded, not refused, with room, as far as that can be had."""
        best = self._directories
        if len(best) == 1:
            return best
        best = [one for one in best if not one.excluded] or best
        best = [one for one in best if one.path not in refused] or best
        return [one for one in best if one.has_room(now)] or best
