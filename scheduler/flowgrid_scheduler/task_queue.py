"""The tasks of one stage that have no attempt, in the order in which they should get one.

A stage of many tasks is one `range` here, not many objects. First come tasks that had an attempt before:
somebody has waited for them longest. Tasks that would read nearly all of their bytes from one executor
wait in that executor's line; others take them only when they have nothing else.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping


class TaskQueue:
    """Partition numbers of pending tasks."""

    __slots__ = ("_anywhere", "_avoid", "_fresh", "_lines", "_returned")

    def __init__(self, count: int) -> None:
        self._returned: deque[int] = deque()
        self._avoid: dict[int, int] = {}
        self._lines: dict[int, deque[int]] = {}
        self._anywhere: deque[int] = deque()
        self._fresh = range(count)

    def __len__(self) -> int:
        lines = sum(map(len, self._lines.values()))
        return len(self._returned) + lines + len(self._anywhere) + len(self._fresh)

    def __bool__(self) -> bool:
        return bool(self._returned or self._anywhere or self._fresh or any(self._lines.values()))

    def prefer(self, wishes: Mapping[int, int]) -> None:
        """Move fresh tasks into the line of the executor that holds nearly all of their input."""
        if not wishes:
            return
        for partition in self._fresh:
            if partition in wishes:
                self._lines.setdefault(wishes[partition], deque()).append(partition)
            else:
                self._anywhere.append(partition)
        self._fresh = range(0)

    def put_back(self, partition: int, avoid: int | None = None) -> None:
        """A task that needs another attempt, if possible not on the executor `avoid`. What an attempt
        taught stays known for all later ones: the next may fail for another reason."""
        self._returned.append(partition)
        if avoid is not None:
            self._avoid[partition] = avoid

    def avoid(self, partition: int, executor: int) -> None:
        """If possible, the next attempt of this task goes elsewhere."""
        self._avoid[partition] = executor

    def avoided(self, partition: int) -> int | None:
        """The executor on which an attempt of this task had better not run."""
        return self._avoid.get(partition)

    def remove(self, partition: int) -> None:
        """A task that was put back needs no attempt any more."""
        self._returned.remove(partition)
        self._avoid.pop(partition, None)

    def forget(self, executor: int) -> None:
        """An executor is gone: its line is anybody's, and nobody needs to avoid it."""
        self._anywhere.extend(self._lines.pop(executor, ()))
        self._avoid = {task: who for task, who in self._avoid.items() if who != executor}

    def take(self, executor: int, alone: bool, steal: bool) -> int | None:
        """The next task for an executor. `alone`: there is no other, so avoiding it would be a hang.
        `steal`: take also what waits in another's line, from the longest first."""
        for position, partition in enumerate(self._returned):
            if alone or self._avoid.get(partition) != executor:
                del self._returned[position]
                return partition
        waiting = self._lines.get(executor) or self._anywhere
        if waiting:
            return waiting.popleft()
        if self._fresh:
            partition = self._fresh[0]
            self._fresh = self._fresh[1:]
            return partition
        if steal and self._lines:
            longest = max(self._lines.values(), key=len)
            return longest.popleft() if longest else None
        return None

    def has_for(self, executor: int, alone: bool) -> bool:
        """Whether a free slot of this executor would find a task here."""
        returned = any(alone or self._avoid.get(task) != executor for task in self._returned)
        return returned or len(self) > len(self._returned)

    def fingerprint(self) -> list[object]:
        """Everything that matters here as plain data."""
        lines = [[who, list(line)] for who, line in sorted(self._lines.items())]
        fresh = [self._fresh.start, self._fresh.stop]
        return [
            list(self._returned),
            sorted(self._avoid.items()),
            lines,
            list(self._anywhere),
            fresh,
        ]
