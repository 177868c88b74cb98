"""A stage's life, and that of its tasks.

::

    stage:  WAITING ──inputs complete──▶ READY ──▶ RUNNING ──all tasks──▶ SUCCEEDED
               ▲                                                              │
               └──────────────── blocks that somebody needs are lost ─────────┘

    task:   PENDING ──launched──▶ LIVE ──accepted──▶ SUCCEEDED ──blocks lost──▶ LOST
               ▲                   │                                             │
               └──failed, lost─────┘      needed again ◀─────────────────────────┘

The stage's state is not stored, it follows from its tasks. A lost task that nobody needs stays LOST
and does not keep its stage from being complete.
"""

from __future__ import annotations

import enum
from array import array
from collections.abc import Iterable, Iterator, Sequence

from flowgrid.ids import AttemptId, StageId
from flowgrid.protocol.job_graph import OutputKind, Slice, StageSpec
from flowgrid.protocol.reports import AttemptReport, WrittenFile
from flowgrid.protocol.status import StageStatus
from flowgrid_scheduler.block_catalog import BlockCatalog
from flowgrid_scheduler.paces import Paces
from flowgrid_scheduler.retries import Tally
from flowgrid_scheduler.task_queue import TaskQueue

COUNT_MAX = 1 << 53
"""Rows or bytes of one task. More is nonsense, and would not fit into our arrays when summed."""


class TaskState(enum.IntEnum):
    PENDING = 0
    """Waits for its stage's inputs or for a slot."""
    LIVE = 1
    """Has an attempt that may still succeed; two of them while a rival runs."""
    SUCCEEDED = 2
    LOST = 3
    """Succeeded once; its blocks are gone and nobody needs them."""


_PENDING, _LIVE, _SUCCEEDED, _LOST = map(int, TaskState)


class Stage:
    """One stage and its tasks, as arrays with one entry per partition."""

    def __init__(self, job: int, spec: StageSpec) -> None:
        count = spec.partition_count
        self.id = StageId(job, spec.number)
        self.spec = spec
        self.blocks = BlockCatalog(spec)
        given = spec.given is not None
        self.states = bytearray([_SUCCEEDED if given else _PENDING]) * count
        self.launches = array("i", [0]) * count
        """Attempts launched so far: the number of the next one."""
        self.numbers_skipped = 0
        """Attempt numbers that nobody was given: another scheduler counts from elsewhere."""
        self.queue = TaskQueue(0 if given else count)
        self.remaining = 0 if given else count
        """Tasks that must still succeed: PENDING or LIVE."""
        self.live = 0
        self.running = 0
        """Attempts that a slot has begun, also those that are no longer wanted."""
        self.reported = False
        """Whether the driver was ever told that this stage succeeded."""
        self.contenders: dict[int, list[int]] = {}
        """Attempts that may still succeed, of live tasks that have or had a rival. Any other live
        task has one: the last one launched."""
        self.beaten: dict[int, int] = {}
        """Attempts that lost to their rival and whose last word has not come, by partition."""
        self.paces = Paces()
        self.tallies: dict[int, Tally] = {}
        self.fetch_failures: dict[tuple[int, int, int], int] = {}
        """By reading task, producing stage and its partition, since a task has last succeeded here."""
        self.files: dict[int, tuple[WrittenFile, ...]] = {}
        self.progress_at = float("-inf")
        self.progress_owed = False

    # -- moves of one task ---------------------------------------------------------------------

    def launch(self, partition: int) -> AttemptId:
        """PENDING to LIVE, with an attempt number that was never given before."""
        number = self.launches[partition]
        self.launches[partition] = number + 1
        self.states[partition] = _LIVE
        self.live += 1
        return self.attempt_of(partition, number)

    def launch_rival(self, partition: int) -> AttemptId:
        """A second attempt of a live task; the first of both to succeed wins."""
        number = self.launches[partition]
        self.contenders[partition] = [*self.contending(partition), number]
        self.launches[partition] = number + 1
        return self.attempt_of(partition, number)

    def attempt_of(self, partition: int, number: int) -> AttemptId:
        return AttemptId(self.id.job, self.id.number, partition, number)

    def contending(self, partition: int) -> list[int]:
        """The numbers of the attempts of a live task that may still succeed."""
        return self.contenders.get(partition) or [self.launches[partition] - 1]

    def is_current(self, attempt: AttemptId) -> bool:
        """Whether this attempt is one whose success we would accept."""
        partition = attempt.partition
        return (
            0 <= partition < len(self.states)
            and self.states[partition] == _LIVE
            and attempt.number in self.contending(partition)
        )

    def put_back(self, attempt: AttemptId, avoid: int | None = None) -> None:
        """LIVE to PENDING: its attempt failed, was lost, or is no longer wanted. While a rival goes
        on, the task stays LIVE."""
        partition = attempt.partition
        others = [one for one in self.contending(partition) if one != attempt.number]
        if others:
            self.contenders[partition] = others
            return
        self.contenders.pop(partition, None)
        self.states[partition] = _PENDING
        self.live -= 1
        self.queue.put_back(partition, avoid)

    def accept(self, attempt: AttemptId, holder: int, report: AttemptReport) -> None:
        """LIVE to SUCCEEDED: this attempt is the winner of its partition."""
        partition = attempt.partition
        self.states[partition] = _SUCCEEDED
        for number in self.contenders.pop(partition, ()):
            if number != attempt.number:
                self.beaten[partition] = number
        self.live -= 1
        self.remaining -= 1
        rows, bytes_ = report.rows, report.bytes
        if self.spec.output is OutputKind.FILES:
            self.files[partition] = report.files
            rows = (sum(file.rows for file in report.files),)
            bytes_ = (sum(file.bytes for file in report.files),)
        self.blocks.register(partition, attempt.number, holder, rows, bytes_, report.digest)
        if self.fetch_failures:
            self.fetch_failures.clear()

    def settle_beaten(self, attempt: AttemptId) -> bool:
        """The last word of an attempt has come: whether it is one that lost to its rival."""
        if self.beaten.get(attempt.partition) != attempt.number:
            return False
        del self.beaten[attempt.partition]
        return True

    def lose(self, partitions: Iterable[int]) -> None:
        """SUCCEEDED to LOST."""
        for partition in partitions:
            self.states[partition] = _LOST
            self.beaten.pop(partition, None)
            self.blocks.unregister(partition)

    def restore(self, winners: Iterable[tuple[int, bool]], first_attempt: int) -> None:
        """What an earlier scheduler knew of a fresh stage: which tasks have won (True) or have lost
        their blocks (False), and from which number on attempts are counted."""
        for partition, held in winners:
            self.states[partition] = _SUCCEEDED if held else _LOST
        count = len(self.states)
        self.launches = array("i", [first_attempt]) * count
        self.numbers_skipped = first_attempt * count - sum(s != _PENDING for s in self.states)
        pending = [p for p in range(count) if self.states[p] == _PENDING]
        self.remaining = len(pending)
        self.queue = TaskQueue(0)
        for partition in pending:
            self.queue.put_back(partition)

    def serves(self, spec: StageSpec) -> bool:
        """Whether what this stage has done counts for that of a later run. What a driver holds
        itself, and what was written to its staging place, died with it."""
        identified = spec.identity != b"" and spec.identity == self.spec.identity
        return identified and spec.given is None and spec.output is OutputKind.BLOCKS

    def replaced(self, spec: StageSpec) -> Stage:
        """Another stage under the same number. Attempts are counted on, and readers told anew."""
        fresh = Stage(self.id.job, spec)
        fresh.launches = array("i", [max(self.launches, default=0)]) * spec.partition_count
        fresh.blocks.version = self.blocks.version + 1
        return fresh

    def adopt(self, attempt: AttemptId) -> None:
        """PENDING to LIVE: an attempt of an earlier scheduler goes on."""
        partition = attempt.partition
        self.queue.remove(partition)
        self.states[partition] = _LIVE
        self.live += 1
        self.contenders[partition] = [attempt.number]
        self.numbers_skipped -= 1

    def recompute(self, partitions: Iterable[int]) -> None:
        """LOST to PENDING: somebody needs them again."""
        for partition in partitions:
            self.states[partition] = _PENDING
            self.remaining += 1
            self.queue.put_back(partition)

    # -- questions -----------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        return self.remaining == 0

    def held_by(self, executor: int) -> list[int]:
        """Partitions that are lost with an executor. Files of a sink are not among them: they are
        in the sink's own file system."""
        if self.spec.output is OutputKind.FILES:
            return []
        return self.blocks.held_by(executor)

    def unfinished(self) -> Iterator[int]:
        """Tasks that must still succeed."""
        return (p for p, state in enumerate(self.states) if state in (_PENDING, _LIVE))

    def readers_of(self, upstream: int, partition: int) -> Iterator[int]:
        """Tasks of this stage that read a partition of an upstream stage."""
        for edge in self.spec.inputs:
            if edge.stage == upstream:
                for task in range(len(self.states)):
                    if edge.slices is None or reads(edge.slices[task], partition):
                        yield task

    def where(self, attempt: AttemptId, executor: str = "") -> str:
        """The place of a failure, for people."""
        place = f"stage {self.spec.label!r}, {attempt}"
        return f"{place} on executor {executor}" if executor else place

    def contradicts(self, partition: int, report: AttemptReport) -> bool:
        """Whether a report says other rows than that of the partition's winner."""
        if self.spec.output is OutputKind.FILES:
            winner = self.files.get(partition, ())
            return sum(file.rows for file in winner) != sum(file.rows for file in report.files)
        return self.blocks.differs(partition, report.digest)

    def malformed(self, report: AttemptReport) -> str:
        """Why a report does not fit this stage, or ""."""
        if len(report.rows_read) != len(self.spec.inputs):
            return f"the report counts {len(report.rows_read)} inputs of {len(self.spec.inputs)}"
        if self.spec.output is OutputKind.BLOCKS:
            lengths = {len(report.rows), len(report.bytes)}
            if lengths != {self.spec.target_count}:
                return f"the report counts {sorted(lengths)} targets of {self.spec.target_count}"
        in_files = [n for file in report.files for n in (file.rows, file.bytes)]
        counts = (report.rows, report.bytes, in_files)
        if not all(map(are_counts, counts)) or report.digest < 0:
            return "the report has numbers that count nothing"
        return ""

    def status(self) -> StageStatus:
        """For people."""
        state = "waiting"
        if self.complete:
            state = "succeeded"
        elif self.live:
            state = "running"
        return StageStatus(
            self.id,
            self.spec.label,
            state,
            tasks=len(self.states),
            running=self.running,
            succeeded=self.states.count(_SUCCEEDED),
            attempts=sum(self.launches) - self.numbers_skipped,
        )

    def fingerprint(self) -> list[object]:
        """Everything that matters here as plain data."""
        tallies = [
            [task, [[budget.value, count] for budget, count in tally.counts.items()]]
            for task, tally in sorted(self.tallies.items())
        ]
        return [
            [self.id.job, self.id.number, bytes(self.states), self.launches.tobytes()],
            [self.remaining, self.live, self.running, self.reported],
            [self.progress_at, self.progress_owed],
            [tallies, sorted(self.fetch_failures.items()), sorted(self.files)],
            [sorted(self.contenders.items()), sorted(self.beaten.items())],
            self.paces.fingerprint(),
            [self.queue.fingerprint(), self.blocks.fingerprint()],
        ]


def are_counts(numbers: Sequence[int]) -> bool:
    """Whether numbers of a peer can be numbers of rows or bytes."""
    return not numbers or (min(numbers) >= 0 and max(numbers) < COUNT_MAX)


def reads(part: Slice, partition: int) -> bool:
    """Whether a slice contains anything of a producer's partition."""
    return (
        part.partition_start <= partition < part.partition_stop
        and part.target_start < part.target_stop
    )
