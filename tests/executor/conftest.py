"""A slot without a cluster: fragments run in this process, on real files below a temporary folder."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import pyarrow as pa
import pytest
from flowgrid_executor.slot_protocol import AttemptError, RunAttempt
from flowgrid_executor.task_runner import run_attempt

from flowgrid.config import MIB
from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.io.blocks import BlockFile
from flowgrid.protocol import codec
from flowgrid.protocol.blocks import file_name
from flowgrid.protocol.failures import Failure
from flowgrid.protocol.fragment import (
    BlocksOutput,
    Fragment,
    Leaf,
    Output,
    Split,
    SqlStep,
    Step,
    TaskInputs,
)
from flowgrid.protocol.job_graph import ExecutorAddress, Slice, StageOutputs
from flowgrid.protocol.reports import AttemptReport

SINGLE = BlocksOutput(1, "single")
HOST = "here"


@dataclasses.dataclass
class Slot:
    """Runs attempts of job 1 and reads what they wrote."""

    directory: Path
    threads: int = 1
    memory_bytes: int = 512 * MIB
    settings: dict[str, str] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)

    def run(
        self,
        steps: Sequence[Step] | str,
        leaves: Sequence[Leaf] = (),
        output: Output = SINGLE,
        *,
        stage: int = 9,
        partition: int = 0,
        number: int = 0,
        splits: dict[str, tuple[Split, ...]] | None = None,
        inputs: Sequence[StageOutputs] = (),
        slices: Sequence[Slice | None] | None = None,
        seed: int = 0,
    ) -> AttemptReport:
        if isinstance(steps, str):
            steps = [SqlStep("result", steps)]
        fragment = Fragment(tuple(leaves), tuple(steps), output, seed)
        request = RunAttempt(
            attempt=AttemptId(1, stage, partition, number),
            payload=codec.fragments.encode(fragment),
            task=codec.task_inputs.encode(TaskInputs(splits)) if splits else b"",
            inputs=tuple(inputs),
            slices=tuple(slices) if slices is not None else (None,) * len(inputs),
            target_count=output.target_count if isinstance(output, BlocksOutput) else 1,
            directory=str(self.directory),
            spill_directory=str(self.directory / "spill"),
            memory_bytes=self.memory_bytes,
            kernel_bytes=self.memory_bytes * 3 // 4,
            threads=self.threads,
            host=HOST,
            settings=self.settings,
        )
        return run_attempt(request)

    def fails(self, *args: object, **options: object) -> Failure:
        return self.breaks(*args, **options).failure

    def breaks(self, *args: object, **options: object) -> AttemptError:
        with pytest.raises(AttemptError) as caught:
            self.run(*args, **options)  # type: ignore[arg-type]
        return caught.value

    def write_numbers(self, stage: int, partitions: int) -> None:
        """Each partition of the stage has the numbers 0 … 99,999 as one column `i`."""
        for partition in range(partitions):
            query = "SELECT range AS i FROM range(100000)"
            self.run(query, stage=stage, partition=partition)

    def file(self, stage: int = 9, partition: int = 0, number: int = 0) -> Path:
        return self.directory / file_name(AttemptId(1, stage, partition, number))

    def read(self, stage: int = 9, partition: int = 0, target: int = 0) -> pa.Table:
        file = BlockFile(self.file(stage, partition))
        return pa.Table.from_batches(file.batches([target]), file.schema)

    def rows(self, *args: object, **options: object) -> list[tuple[object, ...]]:
        """The rows that a query of one task leaves, as the kernel gave them."""
        self.run(*args, **options)  # type: ignore[arg-type]
        return [tuple(row.values()) for row in self.read().to_pylist()]

    def outputs(self, stage: int, partitions: int = 1) -> StageOutputs:
        """What attempts number 0 of an earlier stage of this slot wrote."""
        address = ExecutorAddress(EXECUTOR, HOST, str(self.directory), "tcp://127.0.0.1:1")
        return StageOutputs(stage, (address,), (0,) * partitions, (0,) * partitions)


EXECUTOR = ExecutorId("a", 1)


@pytest.fixture
def slot(tmp_path: Path) -> Slot:
    return Slot(tmp_path / "executor")


@pytest.fixture
def make_slot(tmp_path: Path) -> Callable[..., Slot]:
    return lambda directory=tmp_path / "executor", **settings: Slot(directory, **settings)
