"""Failures that may be their executor's own: who failed which task, until the task succeeds."""

from __future__ import annotations

from flowgrid.ids import TaskId


class Suspicions:
    """Failures that would speak against an executor if their task succeeded elsewhere."""

    def __init__(self) -> None:
        self._failed: dict[TaskId, dict[int, str]] = {}

    def add(self, task: TaskId, executor: int, what: str) -> None:
        self._failed.setdefault(task, {})[executor] = what

    def settle(self, task: TaskId, winner: int) -> dict[int, str]:
        """A task has succeeded: who had failed it, and how."""
        failed = self._failed.pop(task, {})
        failed.pop(winner, None)
        return failed

    def forget_job(self, job: int) -> None:
        self._failed = {task: who for task, who in self._failed.items() if task.job != job}

    def __bool__(self) -> bool:
        return bool(self._failed)

    def fingerprint(self) -> list[object]:
        return [[str(task), sorted(who.items())] for task, who in self._failed.items()]
