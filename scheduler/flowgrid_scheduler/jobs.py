"""A job's life: its graph, which of its stages may run, and what its result is.

::

    RUNNING ──last stage of the complete graph succeeded──▶ SUCCEEDED ──released──▶ gone
       ▲  │                                                     │
       │  └──failed, cancelled, driver lost──▶ gone             │
       └──────── a result block cannot be read any more ────────┘

A program with a resume name does not lose its jobs with its driver: they, and those that it released,
are KEPT, and RUNNING again when the next run submits the same stages (`kept_jobs`).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

from flowgrid.config import Config
from flowgrid.ids import AttemptId, JobId
from flowgrid.protocol.job_graph import (
    ExecutorAddress,
    OutputKind,
    Slice,
    StageInput,
    StageSpec,
)
from flowgrid.protocol.messages import JobSucceeded
from flowgrid.protocol.status import JobStatus
from flowgrid_scheduler.lineage import tasks_to_recompute
from flowgrid_scheduler.stages import Stage, are_counts

LOCALITY_PARTITIONS_MAX = 16
"""A task that reads more producers than this reads from everywhere, and waits for nobody in
particular: finding its best place would cost maps × reduces."""


BLOCKS_MAX = 64 << 20
"""Tasks times targets of one stage: each takes 24 bytes here, so this is 1.5 GiB."""

LOCALITY_SHARE_MIN = 2 / 3
"""With less than this of its bytes in one place, a task has no place worth waiting for."""

ATTEMPTS_MAX = 1 << 31
"""Attempt numbers are kept in 32 bits."""


class GraphError(Exception):
    """Stages that make no job graph."""


class JobState(enum.Enum):
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    KEPT = "kept"
    """For the next run of its program; nothing of it runs."""


class Job:
    """One submitted run of one plan."""

    def __init__(
        self,
        id_: JobId,
        session: str,
        name: str,
        config: Config,
        awake_s: float,
        request: int = 0,
    ) -> None:
        self.id = id_
        self.request = request
        """The driver's own number for it."""
        self.session = session
        self.name = name
        self.config = config
        self.state = JobState.RUNNING
        self.stages: list[Stage] = []
        self.confirmed = 0
        """How many of them the present driver has submitted; the others are an earlier run's."""
        self.replaced: dict[int, int] = {}
        """Stages that were others in an earlier run: the numbers of their own first attempts."""
        self.reports: list[int] = []
        """The stages that have succeeded, in the order in which a driver heard of it first."""
        self.graph_complete = False
        self.submitted_s = awake_s
        self.running_since_s = awake_s
        self.result_unreadable = -1
        """The partition of the result that the driver could not read last."""
        self.result_fetch_failures = 0
        """How often, one after another. Not 0 again: from then on it may have read part of the rest."""
        self.given_up: dict[int, float] = {}
        """Executors that a reader of ours could not reach (`recovery`), and until when we leave nothing
        new there."""
        self.open: list[Stage] = []
        """Stages whose inputs are complete and who have tasks to do, in the order of the graph."""

    # -- the graph -----------------------------------------------------------------------------

    def add_stages(self, specs: Sequence[StageSpec], complete: bool) -> list[Stage]:
        """Grow the graph and return the new stages; stages that are known already are skipped,
        because a word may come twice. Stages of an earlier run are taken over if they serve, and
        replaced if they do not. Raises `GraphError` before anything is changed."""
        new = [spec for spec in specs if spec.number >= self.confirmed]
        known = [stage.spec for stage in self.graph]
        for spec in new:
            _check(spec, known)
            known.append(spec)
        if complete and not known:
            raise GraphError("a job needs at least one stage")
        stages = [self._stage_for(spec) for spec in new]
        self.stages[self.confirmed : len(known)] = stages
        self.confirmed = len(known)
        self.graph_complete = complete
        return stages

    def _stage_for(self, spec: StageSpec) -> Stage:
        """A new stage, or what an earlier run has left of it."""
        if spec.number >= len(self.stages):
            return Stage(self.id.number, spec)
        earlier = self.stages[spec.number]
        if earlier.serves(spec):
            return earlier
        stage = earlier.replaced(spec)
        self.replaced[spec.number] = max(earlier.launches, default=0)
        return stage

    @property
    def graph(self) -> list[Stage]:
        """The stages that the present driver has submitted."""
        return self.stages[: self.confirmed]

    def order_of(self, stage: Stage) -> int:
        """Sorts stages as drivers first heard of their success, which decides how a graph grows."""
        number = stage.id.number
        return self.reports.index(number) if number in self.reports else len(self.reports)

    def serving(self, specs: Sequence[StageSpec]) -> int:
        """How many stages of this job serve one that begins with these."""
        pairs = zip(self.stages, specs, strict=False)
        return sum(stage.serves(spec) for stage, spec in pairs)

    @property
    def result(self) -> Stage | None:
        """The stage whose blocks or files are the answer, once the graph is complete."""
        return self.stages[self.confirmed - 1] if self.graph_complete else None

    def stage_of(self, attempt: AttemptId) -> Stage | None:
        """The stage that an attempt claims to belong to."""
        return self.stages[attempt.stage] if 0 <= attempt.stage < len(self.stages) else None

    def recompute(self) -> None:
        """Put back to work what is lost and needed."""
        result = self.result.spec.number if self.result else None
        for number, partitions in tasks_to_recompute(self.graph, result).items():
            self.stages[number].recompute(partitions)
        self.refresh_open()

    def refresh_open(self) -> None:
        """Apply the barrier: called when a stage was added, completed or lost blocks."""
        before = self.open
        self.open = [
            stage
            for stage in self.graph
            if stage.remaining
            and all(self.stages[edge.stage].complete for edge in stage.spec.inputs)
        ]
        for stage in self.open:
            if stage not in before and not any(stage.launches):
                stage.queue.prefer(self._wishes(stage))

    def _wishes(self, stage: Stage) -> dict[int, int]:
        """For each task that reads few producers: the executor that holds nearly all of it."""
        wishes: dict[int, int] = {}
        edges = [edge for edge in stage.spec.inputs if edge.slices is not None]
        for partition in range(len(stage.states)) if edges else ():
            weights: dict[int, int] = {}
            for edge in edges:
                blocks = self.stages[edge.stage].blocks
                part = edge.slices[partition]  # type: ignore[index]
                if part.partition_stop - part.partition_start > LOCALITY_PARTITIONS_MAX:
                    continue
                for producer in range(part.partition_start, part.partition_stop):
                    holder = blocks.holders[producer]
                    if holder >= 0:
                        there = blocks.bytes_in(part, producer)
                        weights[holder] = weights.get(holder, 0) + there
            if weights:
                best = max(weights, key=lambda who: (weights[who], -who))
                if weights[best] > LOCALITY_SHARE_MIN * sum(weights.values()):
                    wishes[partition] = best
        return wishes

    def candidates(self, taking: frozenset[int]) -> frozenset[int]:
        """Of those that take attempts, who gets ours: nobody that was given up, if there are others."""
        return taking.difference(self.given_up) or taking if self.given_up else taking

    def take(self, executor: int, taking: frozenset[int], steal: bool) -> tuple[Stage, int] | None:
        """A pending task for one of those that take attempts, from the earliest open stage that has
        one."""
        candidates = self.candidates(taking)
        for stage in self.open if executor in candidates else ():
            partition = stage.queue.take(executor, len(candidates) == 1, steal)
            if partition is not None:
                return stage, partition
        return None

    # -- rows and answers ----------------------------------------------------------------------

    def rows_expected(self, stage: Stage, partition: int) -> tuple[int, ...]:
        """The rows that a task must read of each of its inputs."""
        return tuple(
            self.stages[edge.stage].blocks.rows_in(
                None if edge.slices is None else edge.slices[partition]
            )
            for edge in stage.spec.inputs
        )

    def succeeded(self, address_of: Callable[[int], ExecutorAddress]) -> JobSucceeded:
        """The answer: which blocks or files, exactly."""
        stage = self.stages[self.confirmed - 1]
        files = tuple(
            (AttemptId(self.id.number, stage.id.number, p, stage.blocks.attempts[p]), file)
            for p in sorted(stage.files)
            for file in stage.files[p]
        )
        outputs = stage.blocks.outputs(address_of)
        return JobSucceeded(self.id, outputs, stage.blocks.statistics(), files)

    def status(self, awake_s: float) -> JobStatus:
        """For people."""
        shown = self.stages if self.state is JobState.KEPT else self.graph
        stages = tuple(stage.status() for stage in shown)
        age_s = awake_s - self.submitted_s
        return JobStatus(self.id, self.name, self.session, self.state.value, age_s, stages)

    def fingerprint(self) -> list[object]:
        """Everything that matters here as plain data."""
        return [
            [self.id.number, self.session, self.name, self.state.value, self.graph_complete],
            [self.submitted_s, self.running_since_s],
            [self.result_unreadable, self.result_fetch_failures],
            [self.confirmed, sorted(self.replaced.items()), self.reports],
            sorted(self.given_up.items()),
            [stage.id.number for stage in self.open],
            [stage.fingerprint() for stage in self.stages],
        ]


def _check(spec: StageSpec, earlier: Sequence[StageSpec]) -> None:
    """Raise `GraphError` unless a stage can follow the earlier ones."""
    if spec.number != len(earlier):
        raise GraphError(f"stage {spec.number} came where {len(earlier)} was expected")
    count, given = spec.partition_count, spec.given
    sizes_fit = count >= 0 and spec.target_count >= 1 and len(spec.tasks) in (0, count)
    if count * spec.target_count > BLOCKS_MAX:
        raise GraphError(f"stage {spec.number} {spec.label!r}: more than {BLOCKS_MAX:,} blocks")
    if spec.output is OutputKind.FILES:
        sizes_fit = sizes_fit and spec.target_count == 1
    if given is not None:
        rows_fit = len(spec.given_rows) == count == len(given.attempts) == len(given.holders)
        targets = {len(rows) for rows in spec.given_rows}
        sizes_fit = sizes_fit and rows_fit and targets <= {spec.target_count}
        numbers = [n for rows in spec.given_rows for n in rows]
        sizes_fit = sizes_fit and not spec.inputs and are_counts(numbers)
        sizes_fit = sizes_fit and all(0 <= n < ATTEMPTS_MAX for n in given.attempts)
    if not sizes_fit:
        raise GraphError(f"stage {spec.number} {spec.label!r}: its sizes do not fit each other")
    for edge in spec.inputs:
        if not 0 <= edge.stage < spec.number:
            raise GraphError(f"stage {spec.number} reads stage {edge.stage}, which is not earlier")
        _check_slices(spec, edge, earlier[edge.stage])


def _check_slices(spec: StageSpec, edge: StageInput, upstream: StageSpec) -> None:
    if upstream.output is not OutputKind.BLOCKS:
        raise GraphError(f"stage {spec.number} reads stage {edge.stage}, which leaves no blocks")
    if edge.slices is None:
        return
    if len(edge.slices) != spec.partition_count:
        raise GraphError(f"stage {spec.number} needs one slice per task of stage {edge.stage}")
    for part in edge.slices:
        if not _fits(part, upstream):
            raise GraphError(f"stage {spec.number}: {part} reaches beyond stage {edge.stage}")


def _fits(part: Slice, upstream: StageSpec) -> bool:
    return (
        0 <= part.target_start <= part.target_stop <= upstream.target_count
        and 0 <= part.partition_start <= part.partition_stop <= upstream.partition_count
    )
