"""Attempts that wait for a slot, with what the scheduler had said when it launched them."""

from __future__ import annotations

import dataclasses

from flowgrid.ids import AttemptId
from flowgrid.protocol.job_graph import StageOutputs, StageSpec
from flowgrid_executor.executor_setup import ExecutorSetup
from flowgrid_executor.slot_protocol import RunAttempt
from flowgrid_executor.slot_state import Slot


@dataclasses.dataclass(slots=True)
class DescribedStage:
    """A stage, and where its inputs are as far as we were told."""

    spec: StageSpec
    inputs: tuple[StageOutputs, ...] = ()


@dataclasses.dataclass(frozen=True, slots=True)
class Waiting:
    """An attempt in the backlog, with the inputs that were located when it was launched."""

    attempt: AttemptId
    spec: StageSpec
    inputs: tuple[StageOutputs, ...]

    def request(self, slot: Slot, setup: ExecutorSetup) -> RunAttempt:
        """What the slot is told."""
        spec, partition = self.spec, self.attempt.partition
        return RunAttempt(
            attempt=self.attempt,
            payload=spec.payload,
            task=spec.tasks[partition] if spec.tasks else b"",
            inputs=self.inputs,
            slices=tuple(i.slices[partition] if i.slices else None for i in spec.inputs),
            target_count=spec.target_count,
            directory=setup.directory,
            spill_directory=setup.spill_directory(slot.number),
            memory_bytes=setup.memory_bytes // setup.slot_count,
            threads=setup.threads_per_slot,
            host=setup.host,
            settings=setup.settings,
            keys_directory=setup.keys_directory,
            progress_path=setup.progress_path(slot.number),
        )
