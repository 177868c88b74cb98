"""One attempt in one slot: it reads, computes, writes and answers, each at its time, or dies before."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowgrid_executor.slot_protocol import AttemptBroke, AttemptDone, FromSlot, RunAttempt

from flowgrid.ids import AttemptId, StageId
from flowgrid.protocol.failures import Failure, FailureKind, FetchFailure
from flowgrid.protocol.job_graph import OutputKind, Slice, StageOutputs
from flowgrid.protocol.reports import AttemptReport, WrittenFile
from tests.simulation.disks import BlockFile, ReadError, StagedFile
from tests.simulation.faults import Fault
from tests.simulation.rows import Lineage, Recipe, Rows, Version, digest, merge, split

if TYPE_CHECKING:
    from tests.simulation.executors import SimExecutor

SALTS = 3
_TASK_S = 0.25
_SLOW = 20
_FLAKY = 0.7
_SAYS_SO = 0.5


class SlotRun:
    """Alive until it has answered; `stop` is a kill at any moment."""

    def __init__(self, executor: SimExecutor, slot: int, request: RunAttempt) -> None:
        self._executor = executor
        self._world = executor.world
        self._slot = slot
        self._request = request
        self._attempt = request.attempt
        self.alive = True
        self.memory_bytes = request.memory_bytes
        self._inputs: list[Rows] = []
        self._rows_read: list[int] = []
        self._lineages: list[Lineage] = []
        dice = self._dice
        self._step_s = dice.random() * _TASK_S / 3
        if executor.slow or self._world.strikes(Fault.SLOW):
            self._step_s *= _SLOW
        flaky = executor.flaky and dice.random() < _FLAKY
        if flaky or self._world.strikes(Fault.CRASH):
            self._after(dice.random() * 4 * self._step_s, self._crash)
        self._after(self._step_s, self._read_next)

    @property
    def _dice(self) -> random.Random:
        return self._world.dice

    def stop(self) -> None:
        self.alive = False

    def _after(self, seconds: float, do: Callable[[], None]) -> None:
        self._world.timeline.after(seconds, lambda: do() if self.alive else None)

    def _crash(self) -> None:
        self._executor.slot_crashes(self._slot)

    def _answer(self, answer: FromSlot) -> None:
        self.alive = False
        self._executor.slot_answers(self._slot, answer)

    def _fail(self, kind: FailureKind, message: str, fetch: FetchFailure | None = None) -> None:
        self._answer(AttemptBroke(self._attempt, Failure(kind, message, fetch=fetch)))

    # -- reading -------------------------------------------------------------------------------

    def _read_next(self) -> None:
        """One input after another: between them the world may change."""
        index = len(self._inputs)
        if index == len(self._request.inputs):
            self._compute()
            return
        outputs, part = self._request.inputs[index], self._request.slices[index]
        try:
            rows = self._read(outputs, part)
        except _Unreadable as error:
            failure = error.failure
            self._after(error.wait_s, lambda: self._unreadable(failure))
            return
        if rows and self._world.strikes(Fault.ROWS_LOST):
            rows = rows[1:]
        self._rows_read.append(len(rows))
        self._inputs.append(rows)
        self._after(self._step_s / 4, self._read_next)

    def _read(self, outputs: StageOutputs, part: Slice | None) -> Rows:
        rows: list[int] = []
        partitions = range(len(outputs.holders))
        if part is not None:
            partitions = partitions[part.partition_start : part.partition_stop]
            if part.target_start >= part.target_stop:
                return ()
        for partition in partitions:
            file = self._open(outputs, partition)
            self._lineages.append(file.lineage)
            blocks = file.bytes_read()
            for target in blocks if part is None else blocks[part.target_start : part.target_stop]:
                rows += target
        return tuple(rows)

    def _open(self, outputs: StageOutputs, partition: int) -> BlockFile:
        written_as = outputs.written_as or StageId(self._attempt.job, outputs.stage)
        producer = AttemptId(
            written_as.job, written_as.number, partition, outputs.attempts[partition]
        )
        holder = outputs.executors[outputs.holders[partition]]
        try:
            return self._world.disks.open(self._request.host, holder, producer)
        except ReadError as error:
            failure = FetchFailure(producer, holder.executor, error.cause)
            raise _Unreadable(failure, error.wait_s) from error

    def _unreadable(self, fetch: FetchFailure) -> None:
        self._fail(FailureKind.FETCH_FAILED, f"no block of {fetch.producer}: {fetch.cause}", fetch)

    # -- computing and writing -----------------------------------------------------------------

    def _compute(self) -> None:
        program = self._world.programs[int(self._request.payload)]
        recipe = program.recipes[self._attempt.stage]
        if self._world.strikes(Fault.USER_ERROR):
            self._fail(FailureKind.USER_ERROR, "the user's code raised")
            return
        if self._world.strikes(Fault.OUT_OF_MEMORY):
            if self._dice.random() < _SAYS_SO:
                self._world.short_of_memory.add((self._executor.id, self._attempt))
                self._fail(FailureKind.OUT_OF_MEMORY, "no memory left")
                return
            self._executor.slot_overruns(self._slot, self._attempt)
        salt = 0 if recipe.deterministic else self._dice.randrange(SALTS)
        rows = recipe.run(self._attempt.partition, self._inputs, salt)
        if program.stages[self._attempt.stage].output is OutputKind.FILES:
            self._after(self._step_s, lambda: self._write_sink(rows, recipe, salt))
        else:
            self._after(self._step_s, lambda: self._write_blocks(rows, recipe, salt))

    def _lineage(self, recipe: Recipe, salt: int, digests: tuple[int, ...]) -> Lineage:
        lineage = dict(merge(self._lineages))
        if not recipe.deterministic:
            task = (self._attempt.stage, self._attempt.partition)
            lineage[task] = Version(salt, digests)
        return lineage

    def _write_blocks(self, rows: Rows, recipe: Recipe, salt: int) -> None:
        disk = self._executor.disk
        blocks = split(rows, self._request.target_count)
        digests = tuple(map(digest, blocks))
        file = BlockFile(blocks, {}, complete=False)
        disk.files[self._attempt] = file
        directory = self._request.directory
        for refusing, kind in (
            (disk.full, FailureKind.DISK_FULL),
            (disk.bad, FailureKind.DISK_BAD),
        ):
            if directory in refusing:
                failure = Failure(kind, f"{kind} in {directory}")
                self._answer(AttemptBroke(self._attempt, failure, directory))
                return
        sizes = tuple(map(len, blocks))
        report = AttemptReport(
            tuple(self._rows_read),
            sizes,
            tuple(8 * size for size in sizes),
            hash(digests) % (1 << 64),
        )

        def finish() -> None:
            file.lineage = self._lineage(recipe, salt, digests)
            file.complete = True
            self._answer(AttemptDone(self._attempt, report))

        self._after(self._step_s, finish)

    def _write_sink(self, rows: Rows, recipe: Recipe, salt: int) -> None:
        lineage = self._lineage(recipe, salt, (digest(rows),))
        path = f"part-{self._attempt.partition}"
        staged = self._world.staging[int(self._request.payload)]
        staged[self._attempt, path] = StagedFile(rows, lineage)
        files = (WrittenFile(path, len(rows), 8 * len(rows)),)
        report = AttemptReport(tuple(self._rows_read), files=files)
        self._after(self._step_s, lambda: self._answer(AttemptDone(self._attempt, report)))


class _Unreadable(Exception):
    def __init__(self, failure: FetchFailure, wait_s: float) -> None:
        super().__init__(failure)
        self.failure = failure
        self.wait_s = wait_s
