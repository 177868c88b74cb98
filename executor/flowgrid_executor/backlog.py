"""Attempts that wait for a slot, with what the scheduler had said when it launched them."""

from __future__ import annotations

import msgspec

from flowgrid.config import Config
from flowgrid.ids import AttemptId
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.job_graph import StageOutputs, StageSpec
from flowgrid_executor.directories import LocalDirectories
from flowgrid_executor.executor_setup import ExecutorSetup
from flowgrid_executor.memory import ALONE_BATCH_ROWS, batch_rows, kernel_share, slot_share
from flowgrid_executor.slot_protocol import RunAttempt

_BATCH_ROWS = Config().kernel_batch_rows


class DescribedStage(msgspec.Struct):
    """A stage, and where its inputs are as far as we were told."""

    spec: StageSpec
    inputs: tuple[StageOutputs, ...] = ()


class Waiting(msgspec.Struct, frozen=True):
    """An attempt in the backlog, with the inputs that were located when it was launched. It waits to be
    `alone` if there was not memory enough for it beside others."""

    attempt: AttemptId
    spec: StageSpec
    inputs: tuple[StageOutputs, ...]
    alone: bool = False
    overran: bool = False
    """It was killed because it used more than it was given."""
    refused: tuple[str, ...] = ()
    """Local directories in which it has failed."""

    @property
    def is_new(self) -> bool:
        """Whether it has not begun before."""
        return not self.alone and not self.refused

    def again(
        self,
        failure: Failure,
        directory: str,
        directories: LocalDirectories,
        overran: bool = False,
    ) -> Waiting | None:
        """The same attempt in another than the `directory` that failed it, or with more memory."""
        refused = (*self.refused, directory)
        if directory and directories.any_other(refused):
            return msgspec.structs.replace(self, refused=refused)
        if failure.kind is FailureKind.OUT_OF_MEMORY and not self.alone:
            return msgspec.structs.replace(self, alone=True, overran=overran)
        return None

    def request(
        self, slot: int, setup: ExecutorSetup, directory: str, spill_directory: str
    ) -> RunAttempt:
        """What the slot is told."""
        spec, partition = self.spec, self.attempt.partition
        memory_bytes = slot_share(setup, self.alone)
        settings = setup.settings
        wanted = int(settings.get("kernel.batch_rows", _BATCH_ROWS))
        rows = ALONE_BATCH_ROWS if self.alone else batch_rows(wanted, memory_bytes)
        if rows != wanted:
            settings = settings | {"kernel.batch_rows": str(rows)}
        return RunAttempt(
            attempt=self.attempt,
            payload=spec.payload,
            task=spec.tasks[partition] if spec.tasks else b"",
            inputs=self.inputs,
            slices=tuple(i.slices[partition] if i.slices else None for i in spec.inputs),
            target_count=spec.target_count,
            directory=directory,
            spill_directory=spill_directory,
            memory_bytes=memory_bytes,
            kernel_bytes=kernel_share(memory_bytes, self.overran),
            threads=1 if self.alone else setup.threads_per_slot,
            host=setup.host,
            settings=settings,
            keys_directory=setup.keys_directory,
            progress_path=setup.progress_path(slot),
        )
