"""Blocks of a leaving executor on their way to us, until each has come or is no longer wanted."""

from __future__ import annotations

from flowgrid.ids import AttemptId, JobId
from flowgrid.protocol.departures import BlocksCopied, CopyBlocks, CopyFailed
from flowgrid.protocol.reports import AttemptReport
from flowgrid_executor.directories import LocalDirectories
from flowgrid_executor.events import (
    Action,
    BlocksFetched,
    DropBlocks,
    FetchBlocks,
    KeepBlocks,
    Send,
)
from flowgrid_executor.holdings import Holdings


class Copies:
    """What is fetched now. No fetch is broken off: what is not wanted any more goes when it ends."""

    def __init__(self) -> None:
        self._wanted: dict[AttemptId, AttemptReport | None] = {}
        """None when it is not wanted any more."""

    def __bool__(self) -> bool:
        return bool(self._wanted)

    def __contains__(self, attempt: AttemptId) -> bool:
        return attempt in self._wanted

    def jobs(self) -> set[int]:
        """For which something may still be written here."""
        return {attempt.job for attempt in self._wanted}

    def begin(self, request: CopyBlocks, directories: LocalDirectories, now: float) -> list[Action]:
        actions: list[Action] = []
        for attempt, report in zip(request.attempts, request.reports, strict=True):
            if attempt not in self._wanted:
                directory = directories.choose(now)
                actions.append(FetchBlocks(attempt, request.source, directory))
            self._wanted[attempt] = report
        return actions

    def forget(self, attempt: AttemptId) -> None:
        self._wanted[attempt] = None

    def forget_job(self, job: JobId) -> None:
        for attempt in self._wanted:
            if attempt.job == job.number:
                self._wanted[attempt] = None

    def forget_all(self) -> None:
        for attempt in self._wanted:
            self._wanted[attempt] = None

    def ended(self, event: BlocksFetched, holdings: Holdings) -> list[Action]:
        """Keep what came and is wanted; say nothing of what is not."""
        attempt = event.attempt
        report = self._wanted.pop(attempt)
        if report is None:
            return [DropBlocks(attempt)]
        if event.error:
            return [DropBlocks(attempt), Send(CopyFailed(attempt, event.error))]
        holdings.take_over(attempt, report)
        return [KeepBlocks(attempt), Send(BlocksCopied(attempt))]
