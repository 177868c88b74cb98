"""A scheduler core with a story: what happened to it, and what it asked for then.

Every event is checked against the invariants, and recorded so that the story can be told again.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from flowgrid_scheduler.actions import Action, SendToDriver, SendToExecutor
from flowgrid_scheduler.cluster import ClusterIdentity
from flowgrid_scheduler.core import SchedulerCore
from flowgrid_scheduler.events import Event, ExecutorUnreachable, Tick
from flowgrid_scheduler.invariants import check
from flowgrid_scheduler.patience import TICK_S

from flowgrid.config import Config
from flowgrid.ids import AttemptId, ExecutorId, JobId
from flowgrid.protocol.compatibility import Versions
from flowgrid.protocol.failures import Failure, FailureKind, FetchCause, FetchFailure
from flowgrid.protocol.job_graph import ExecutorAddress, OutputKind, Slice, StageInput, StageSpec
from flowgrid.protocol.messages import (
    AddStages,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    DriverEnvelope,
    ExecutorEnvelope,
    FromDriver,
    FromExecutor,
    Heartbeat,
    JobFailed,
    KeepAlive,
    LaunchAttempts,
    OpenSession,
    RegisterExecutor,
    SubmitJob,
)
from flowgrid.protocol.reports import AttemptReport

VERSIONS = Versions(1, "0.1.0", "3.11", "26.0.1", "2.0.0")
IDENTITY = ClusterIdentity(epoch=1, versions=VERSIONS)
SESSION = "d" * 32
JOB = JobId(1)
ROWS = 10
"""Rows that every attempt writes for every target, unless a story says otherwise."""

M = TypeVar("M")


def executor_id(name: str) -> ExecutorId:
    return ExecutorId(name, incarnation=ord(name[0]))


def address(id_: ExecutorId) -> ExecutorAddress:
    return ExecutorAddress(
        id_, "host", f"/blocks/{id_.name}", f"tcp://127.0.0.1:{ord(id_.name[0])}"
    )


def maps(count: int, targets: int = 1, number: int = 0) -> StageSpec:
    """A stage that reads no other stage."""
    return StageSpec(number, f"maps {number}", count, OutputKind.BLOCKS, targets)


def reduces(count: int, upstream: StageSpec, number: int = 1) -> StageSpec:
    """A stage whose task t reads target t of all partitions of another."""
    slices = tuple(Slice(t, t + 1, 0, upstream.partition_count) for t in range(count))
    inputs = (StageInput(upstream.number, slices),)
    return StageSpec(number, f"reduces {number}", count, OutputKind.BLOCKS, inputs=inputs)


def one_to_one(upstream: StageSpec, number: int = 1) -> StageSpec:
    """A stage whose task p reads everything of partition p of another."""
    count = upstream.partition_count
    slices = tuple(Slice(0, upstream.target_count, p, p + 1) for p in range(count))
    inputs = (StageInput(upstream.number, slices),)
    return StageSpec(number, f"one to one {number}", count, OutputKind.BLOCKS, inputs=inputs)


def broadcast(count: int, upstream: StageSpec, number: int = 1) -> StageSpec:
    """A stage whose tasks all read everything of another."""
    inputs = (StageInput(upstream.number),)
    return StageSpec(number, f"broadcast {number}", count, OutputKind.BLOCKS, inputs=inputs)


def shuffle(map_count: int, reduce_count: int) -> tuple[StageSpec, StageSpec]:
    first = maps(map_count, targets=reduce_count)
    return first, reduces(reduce_count, first)


def fetch_failure(
    producer: AttemptId, holder: str, cause: FetchCause = FetchCause.MISSING
) -> Failure:
    fetch = FetchFailure(producer, executor_id(holder), cause)
    return Failure(FailureKind.FETCH_FAILED, f"no block of {producer}", fetch=fetch)


class Story:
    """Tells a core what happens, in the words of peers, and keeps what it asks for."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self.core = SchedulerCore(config, IDENTITY)
        self.now = 1000.0
        self.told: list[tuple[float, Event]] = []
        self.asked: list[Action] = []
        self.live: dict[AttemptId, str] = {}
        """Launched attempts without a last word, and the executor they were launched on."""
        self._sent: dict[object, int] = {}
        self._awake: list[str] = []

    @classmethod
    def with_defaults(cls) -> Story:
        return cls(Config())

    # -- what happens --------------------------------------------------------------------------

    def happens(self, event: Event) -> list[Action]:
        """One event, checked and recorded; returns what the core asks for."""
        self.told.append((self.now, event))
        actions = self.core.handle(event, self.now)
        check(self.core)
        self.asked += actions
        for attempts in sent_to_executors(actions, LaunchAttempts):
            for attempt in attempts[1].attempts:
                assert attempt not in self.live, f"{attempt} was launched twice"
                self.live[attempt] = attempts[0]
        return actions

    def driver_says(self, *messages: FromDriver, session: str = SESSION) -> list[Action]:
        return self.happens(DriverEnvelope(session, self._next(session), messages))

    def executor_says(self, name: str, *messages: FromExecutor) -> list[Action]:
        id_ = executor_id(name)
        return self.happens(ExecutorEnvelope(id_, self._next(id_), messages))

    def joins(self, *names: str, slots: int = 2) -> Story:
        for name in names:
            register = RegisterExecutor(address(executor_id(name)), slots, 1 << 30, VERSIONS)
            self.executor_says(name, register)
            self._awake.append(name)
        return self

    def falls_silent(self, name: str) -> None:
        """From now on its heartbeats do not come."""
        self._awake.remove(name)

    def connects(self, session: str = SESSION, **conf: str) -> Story:
        self.driver_says(OpenSession(session, "app", VERSIONS, conf), session=session)
        return self

    def submits(
        self, *stages: StageSpec, complete: bool = True, session: str = SESSION
    ) -> list[Action]:
        if session not in self.core.state.sessions.open:
            self.connects(session)
        request = self._next("request")
        return self.driver_says(SubmitJob(request, "query", stages, complete), session=session)

    def adds(self, *stages: StageSpec, complete: bool) -> list[Action]:
        return self.driver_says(AddStages(JOB, stages, complete))

    def time_passes(self, seconds: float, driver_alive: bool = True) -> list[Action]:
        """Ticks and the heartbeats of everybody who is awake."""
        actions: list[Action] = []
        for _ in range(round(seconds / TICK_S)):
            self.now += TICK_S
            for name in self._awake:
                id_ = executor_id(name)
                actions += self.happens(Heartbeat(id_, self._sent.get(id_, 0), 0))
            for session in list(self.core.state.sessions.open) if driver_alive else ():
                actions += self.driver_says(KeepAlive(), session=session)
            actions += self.happens(Tick())
        return actions

    def hangs_up(self, name: str) -> None:
        """Its connection is closed."""
        self.happens(ExecutorUnreachable(executor_id(name)))

    # -- what attempts do ----------------------------------------------------------------------

    def starts(self, *attempts: AttemptId) -> None:
        for attempt in attempts:
            self.executor_says(self.live[attempt], AttemptStarted(attempt))

    def succeeds(
        self,
        *attempts: AttemptId,
        rows: int = ROWS,
        rows_read: tuple[int, ...] | None = None,
        salt: int = 0,
    ) -> list[Action]:
        """Attempts start and succeed; with another `salt` they write other rows, as many as before."""
        actions: list[Action] = []
        for attempt in attempts:
            report = self.report(attempt, rows, rows_read, salt)
            name = self.live.pop(attempt)
            started, succeeded = AttemptStarted(attempt), AttemptSucceeded(attempt, report)
            actions += self.executor_says(name, started, succeeded)
        return actions

    def report(
        self,
        attempt: AttemptId,
        rows: int = ROWS,
        rows_read: tuple[int, ...] | None = None,
        salt: int = 0,
    ) -> AttemptReport:
        """What an honest attempt says."""
        job = self.core.state.jobs[attempt.job]
        stage = job.stages[attempt.stage]
        if rows_read is None:
            rows_read = job.rows_expected(stage, attempt.partition)
        targets = stage.spec.target_count
        digest = salt << 60 | attempt.partition << 40 | rows
        return AttemptReport(rows_read, (rows,) * targets, (8 * rows,) * targets, digest)

    def fails(self, attempt: AttemptId, failure: Failure | FailureKind) -> list[Action]:
        if isinstance(failure, FailureKind):
            failure = Failure(failure, f"it was {failure}", traceback="line 7, in clean")
        name = self.live.pop(attempt)
        return self.executor_says(name, AttemptStarted(attempt), AttemptFailed(attempt, failure))

    def finishes_stage(self, number: int, job: int = 1) -> list[Action]:
        """Everything of a stage succeeds, however often it must be launched."""
        actions: list[Action] = []
        while attempts := self.launched(number, job):
            actions += self.succeeds(*attempts)
        return actions

    def launched(self, stage: int, job: int = 1) -> list[AttemptId]:
        """Live attempts of a stage, in the order of their launch."""
        return [a for a in self.live if (a.job, a.stage) == (job, stage)]

    def forgets(self, name: str) -> None:
        """The story's side of losing an executor."""
        self.live = {attempt: who for attempt, who in self.live.items() if who != name}
        if name in self._awake:
            self._awake.remove(name)

    def told_driver(self, kind: type[M]) -> list[M]:
        """Everything of a kind that any driver was ever told."""
        return sent_to_drivers(self.asked, kind)

    def failure(self) -> JobFailed:
        """The one failure that the driver was told."""
        (failed,) = self.told_driver(JobFailed)
        return failed

    def _next(self, counter: object) -> int:
        self._sent[counter] = self._sent.get(counter, 0) + 1
        return self._sent[counter] - 1


def sent_to_executors(actions: Iterable[Action], kind: type[M]) -> list[tuple[str, M]]:
    return [
        (action.executor.name, action.message)
        for action in actions
        if isinstance(action, SendToExecutor) and isinstance(action.message, kind)
    ]


def sent_to_drivers(actions: Iterable[Action], kind: type[M]) -> list[M]:
    return [
        action.message
        for action in actions
        if isinstance(action, SendToDriver) and isinstance(action.message, kind)
    ]


def launches(actions: Sequence[Action]) -> list[AttemptId]:
    return [a for _, word in sent_to_executors(actions, LaunchAttempts) for a in word.attempts]
