"""Kills a process in the middle of a job, at a moment that the scheduler's journal defines."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

import psutil
from flowgrid_scheduler.journal import read_journal

from flowgrid.ids import AttemptId, TaskId
from flowgrid.protocol.messages import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    ExecutorEnvelope,
    FromExecutor,
    ReportFetchFailed,
)
from tests.cluster.census import Premises, command_line, paths_below

Moment = Callable[[Path], bool]

LOOK_INTERVAL_S = 0.002


RECORDED = {"scheduler.record_events": "true"}
"""A setting that sessions need whose journals are read here."""


def journals_of(premises: Premises) -> list[Path]:
    """One journal for each life of the scheduler here, the first one first."""
    paths = [path for path in paths_below(premises.folder.parent) if path.suffix == ".journal"]
    return sorted(paths, key=lambda path: path.stat().st_mtime)


def journal_of(premises: Premises) -> Path:
    """The journal of the one scheduler that runs here."""
    (path,) = journals_of(premises)
    return path


def said_by_executors(journal: Path) -> Iterator[tuple[str, FromExecutor]]:
    """(executor's name, what it said), in the order in which the scheduler heard it."""
    for _, event in read_journal(journal):
        if isinstance(event, ExecutorEnvelope):
            for message in event.messages:
                yield event.executor.name, message


def successes_of(executor: str, journal: Path) -> int:
    """How many attempts an executor has finished so far."""
    return sum(
        name == executor and isinstance(message, AttemptSucceeded)
        for name, message in said_by_executors(journal)
    )


def after_success_of(executor: str, count: int) -> Moment:
    """The moment at which an executor has finished so many attempts."""
    return lambda journal: successes_of(executor, journal) >= count


def after_tasks(count: int) -> Moment:
    """The moment at which so many tasks have succeeded, wherever."""
    return lambda journal: len(succeeded_tasks(journal)) >= count


def executor_name(process: psutil.Process) -> str:
    words = command_line(process)
    return words[words.index("--name") + 1]


def a_slot_of(executor: psutil.Process) -> psutil.Process | None:
    """The youngest process of an executor that has no children: a slot, while there are any."""
    children = executor.children(recursive=True)
    leaves = [child for child in children if not child.children()]
    return max(leaves, key=lambda process: process.create_time(), default=None)


class Assassin:
    """While entered, waits for the moment, then kills once. `struck` says whether it came to that."""

    def __init__(
        self,
        premises: Premises,
        moment: Moment,
        victim: Callable[[], psutil.Process | None],
        afterwards: Callable[[], None] = lambda: None,
    ) -> None:
        self.struck = False
        self._premises = premises
        self._moment = moment
        self._victim = victim
        self._afterwards = afterwards
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._lurk, name="assassin")

    def __enter__(self) -> Assassin:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _lurk(self) -> None:
        journal = journal_of(self._premises)
        while not self._over.is_set():
            if self._moment(journal):
                with contextlib.suppress(psutil.NoSuchProcess):
                    victim = self._victim()
                    if victim is not None:
                        victim.kill()
                        self.struck = True
                        self._afterwards()
                        return
            time.sleep(LOOK_INTERVAL_S)


def needless_attempts(journal: Path, lost: str) -> list[AttemptId]:
    """Attempts of tasks that had already succeeded on an executor that was never lost."""
    succeeded: set[object] = set()
    needless = []
    for executor, message in said_by_executors(journal):
        if isinstance(message, AttemptStarted) and message.attempt.task in succeeded:
            needless.append(message.attempt)
        if isinstance(message, AttemptSucceeded) and executor != lost:
            succeeded.add(message.attempt.task)
    return needless


def succeeded_tasks(journal: Path) -> set[TaskId]:
    return {
        message.attempt.task
        for _, message in said_by_executors(journal)
        if isinstance(message, AttemptSucceeded)
    }


def attempts_started(journal: Path) -> list[AttemptId]:
    return [
        message.attempt
        for _, message in said_by_executors(journal)
        if isinstance(message, AttemptStarted)
    ]


def fetches_failed(journal: Path) -> int:
    """How often an executor or a driver could not read a block so far."""
    words = [word for _, event in read_journal(journal) for word in getattr(event, "messages", ())]
    return sum(
        isinstance(word, ReportFetchFailed)
        or (isinstance(word, AttemptFailed) and word.failure.fetch is not None)
        for word in words
    )


def failure_kinds(journal: Path) -> set[str]:
    return {
        str(message.failure.kind)
        for _, message in said_by_executors(journal)
        if isinstance(message, AttemptFailed)
    }
