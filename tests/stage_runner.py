"""A plan's stages, run in this process: the real planner and the real slot code, without a cluster.

Every stage runs when all it reads is there; its sizes go back to the planner, which plans on. So a test
sees real blocks, real exchanges and real adaptive decisions within milliseconds.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import pyarrow as pa
from flowgrid_executor.slot_protocol import RunAttempt
from flowgrid_executor.task_runner import run_attempt

from flowgrid.config import Config
from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.io.arrow_types import plain_schema, to_plain
from flowgrid.io.stage_reader import Producer, StageReader
from flowgrid.logical.nodes import Node
from flowgrid.logical.schema import arrow_schema, schema_of
from flowgrid.physical.layout import Shape
from flowgrid.physical.planner import Planner
from flowgrid.protocol.job_graph import ExecutorAddress, StageOutputs, StageSpec, StageStatistics
from flowgrid.protocol.reports import AttemptReport
from flowgrid.submit.given_tables import GivenTables
from flowgrid.transport.host import host_identity

_JOB = 1

_PARTITION_BYTES = 200_000
"""Of a given table: so small that tests' tables have several partitions."""


class StageRunner:
    """Runs plans for a cluster of `slots` slots, with files below `directory`."""

    def __init__(
        self,
        directory: Path,
        slots: int,
        conf: dict[str, object] | None = None,
        partition_bytes: int = _PARTITION_BYTES,
    ) -> None:
        """Given tables are cut into partitions of about `partition_bytes`."""
        self._directory = directory
        self._partition_bytes = partition_bytes
        self._config = Config.parse(conf or {})
        self._shape = Shape(slots, self._config)
        self.planner: Planner | None = None
        self.specs: list[StageSpec] = []
        self.statistics: dict[int, StageStatistics] = {}

    @property
    def stages(self) -> str:
        """The stages of the last run, as text."""
        assert self.planner is not None
        return self.planner.explain()

    def statistics_of(self, text: str) -> StageStatistics:
        """Sizes of the stage whose text in `stages` begins with a line that has `text` in it."""
        lines = [line for line in self.stages.splitlines() if line.startswith("stage ")]
        return next(self.statistics[i] for i, line in enumerate(lines) if text in line)

    def run(self, plan: Node) -> pa.Table:
        """The plan's rows, in partition order, with plain Arrow types."""
        directory = tempfile.mkdtemp(prefix="run-", dir=self._directory)
        address = ExecutorAddress(ExecutorId("test", 1), host_identity(), directory, "")
        tables = GivenTables(self._directory, None, None, self._partition_bytes)
        try:
            return self._run(plan, tables, address)
        finally:
            tables.close()

    def _run(self, plan: Node, tables: GivenTables, address: ExecutorAddress) -> pa.Table:
        self.planner = Planner(plan, self._shape, tables.give)
        self.specs = []
        outputs: dict[int, StageOutputs] = {}
        while True:
            step = self.planner.advance()
            assert step.stages, "the planner waits for a stage that nobody runs"
            for spec in step.stages:
                self.specs.append(spec)
                statistics = self._stage(spec, outputs, address)
                self.statistics[spec.number] = statistics
                self.planner.finished(spec.number, statistics)
            if step.complete:
                break
        last = outputs[self.specs[-1].number]
        reader = StageReader(_JOB, last, None, address.host, _no_other_host)
        batches = [to_plain(batch) for batch in reader.batches()]
        return pa.Table.from_batches(batches, plain_schema(arrow_schema(schema_of(plan))))

    def _stage(
        self, spec: StageSpec, outputs: dict[int, StageOutputs], address: ExecutorAddress
    ) -> StageStatistics:
        if spec.given is not None:
            outputs[spec.number] = spec.given
            return StageStatistics((sum(rows[0] for rows in spec.given_rows),), (0,))
        reports = [
            self._task(spec, partition, outputs, address)
            for partition in range(spec.partition_count)
        ]
        count = spec.partition_count
        outputs[spec.number] = StageOutputs(spec.number, (address,), (0,) * count, (0,) * count)
        return StageStatistics(
            tuple(map(sum, zip(*(report.rows for report in reports), strict=True))),
            tuple(map(sum, zip(*(report.bytes for report in reports), strict=True))),
        )

    def _task(
        self,
        spec: StageSpec,
        partition: int,
        outputs: dict[int, StageOutputs],
        address: ExecutorAddress,
    ) -> AttemptReport:
        return run_attempt(
            RunAttempt(
                attempt=AttemptId(_JOB, spec.number, partition, 0),
                payload=spec.payload,
                task=spec.tasks[partition] if spec.tasks else b"",
                inputs=tuple(outputs[one.stage] for one in spec.inputs),
                slices=tuple(
                    one.slices[partition] if one.slices is not None else None for one in spec.inputs
                ),
                target_count=spec.target_count,
                directory=address.directory,
                spill_directory=str(self._directory / "spill"),
                memory_bytes=1 << 30,
                kernel_bytes=1 << 30,
                threads=1,
                host=address.host,
                settings=self._config.to_conf(),
            )
        )


def _no_other_host(address: ExecutorAddress, attempt: AttemptId) -> Producer:
    raise AssertionError(f"{attempt} should be on this host")
