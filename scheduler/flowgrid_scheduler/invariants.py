"""What must always hold, checked after every event in tests.

Written to be quick: the simulator spends its time here, and each microsecond is schedules not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from flowgrid.ids import AttemptId
from flowgrid.protocol.job_graph import OutputKind
from flowgrid.protocol.programs import ProgramState
from flowgrid_scheduler.attempts import AttemptState
from flowgrid_scheduler.backlogs import BACKLOG_MAX
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.core import SchedulerCore
from flowgrid_scheduler.executors import Executor
from flowgrid_scheduler.jobs import Job, JobState
from flowgrid_scheduler.program_drivers import DRIVERS_PER_EXECUTOR_MAX
from flowgrid_scheduler.stages import Stage, TaskState

_PENDING, _LIVE, _SUCCEEDED = map(int, (TaskState.PENDING, TaskState.LIVE, TaskState.SUCCEEDED))
_ATTEMPT_RUNS, _ATTEMPT_ENDS = AttemptState.RUNNING, AttemptState.CANCELLING


def check(core: SchedulerCore) -> None:
    """Raise `AssertionError` with the story if anything is not as it must be."""
    state = core.state
    executors = state.executors
    places: dict[AttemptId, int] = {}
    running: dict[tuple[int, int], int] = {}
    for executor in executors.alive.values():
        _check_executor(state, executor, places, running)
    taking = executors.taking()
    assert taking or executors.awaited or not executors.staying(), "everybody is excluded"
    jobs = [job for job in state.jobs.values() if job.state is JobState.RUNNING]
    in_rotation = sorted([job.id.number for job in state.rotation])
    assert in_rotation == sorted([job.id.number for job in jobs]), "a job runs without its turn"
    alive = {executor.index for executor in executors.alive.values()}
    for job in state.jobs.values():
        kept = job.state is JobState.KEPT and job.session in state.sessions.lost
        assert kept or job.session in state.sessions.open, f"{job.id} outlived its driver"
        for stage in job.stages:
            _check_stage(stage, alive, places)
            assert stage.running == running.get((stage.id.job, stage.id.number), 0), stage.id
    for job in jobs:
        _check_progress(state, job, taking)
    _check_programs(state, alive)
    if state.jobs or alive:
        assert core.next_deadline() is not None, "nobody watches the time"


def _check_executor(
    state: ClusterState,
    executor: Executor,
    places: dict[AttemptId, int],
    running: dict[tuple[int, int], int],
) -> None:
    """Also notes where each attempt is, and how many of each stage run."""
    assert executor.places(BACKLOG_MAX) >= 0, executor.id
    assert executor.told.keys() <= state.jobs.keys(), "an executor was not told of a job's end"
    for attempt, current in executor.attempts.items():
        assert current <= _ATTEMPT_ENDS, f"{attempt} has ended and still takes a place"
        assert attempt.job in state.jobs, f"{attempt} outlived its job"
        assert attempt not in places, f"{attempt} runs twice"
        places[attempt] = executor.index
        if current is _ATTEMPT_RUNS:
            stage = attempt.job, attempt.stage
            running[stage] = running.get(stage, 0) + 1


def _check_stage(stage: Stage, alive: Set[int], places: Mapping[AttemptId, int]) -> None:
    live, pending = stage.states.count(_LIVE), stage.states.count(_PENDING)
    assert stage.live == live, stage.id
    assert stage.remaining == live + pending, stage.id
    assert len(stage.queue) == pending, f"{stage.id}: a task is nowhere"
    if stage.spec.given is not None:
        return
    leaves_blocks = stage.spec.output is not OutputKind.FILES
    tasks = zip(
        stage.states, stage.blocks.attempts, stage.blocks.holders, stage.launches, strict=True
    )
    for partition, (task, number, holder, launches) in enumerate(tasks):
        if task == _SUCCEEDED:
            assert 0 <= number < launches, f"{stage.id} task {partition}: winner"
            assert holder in alive or not leaves_blocks, "a winner is gone"
            continue
        assert number == holder == -1, f"{stage.id} task {partition}: blocks of nobody"
        if task == _LIVE:
            _check_contenders(stage, partition, places)


def _check_contenders(stage: Stage, partition: int, places: Mapping[AttemptId, int]) -> None:
    """Whoever may still succeed is somewhere; two of them are in two places."""
    contending = [stage.attempt_of(partition, n) for n in stage.contending(partition)]
    assert len(contending) <= 2, f"{contending}: more than one rival"
    for attempt in contending:
        assert attempt in places, f"{attempt} is live and nowhere"
    if len(contending) == 2:
        one, other = contending
        assert places[one] != places[other], f"{one} and {other} are rivals on one executor"


def _check_progress(state: ClusterState, job: Job, taking: list[Executor]) -> None:
    """The progress witness: an attempt runs, or a place is awaited, or the driver's next word, or the
    end of the grace period."""
    incomplete = {stage.id.number for stage in job.stages if stage.remaining}
    expected = [
        stage
        for stage in job.graph
        if stage.remaining and not any(edge.stage in incomplete for edge in stage.spec.inputs)
    ]
    assert job.open == expected, f"{job.id}: the barrier is out of date"
    if not state.executors.staying():
        assert state.nobody_since_s is not None
        return
    queued = [stage for stage in job.open if stage.queue]
    candidates = job.candidates(frozenset([executor.index for executor in taking]))
    for executor in taking if queued else ():
        if executor.slots_free and executor.index in candidates:
            for stage in queued:
                assert not stage.queue.has_for(executor.index, alone=len(candidates) == 1), (
                    f"{stage.id} could run on {executor.id}"
                )
    if not queued and not any([stage.live for stage in job.stages]):
        waits_for_driver = not job.graph_complete and not any(s.remaining for s in job.graph)
        assert waits_for_driver, f"{job.id} waits for nothing"


def _check_programs(state: ClusterState, alive: Set[int]) -> None:
    """A driver runs where somebody is, and waits where nobody can; nobody listens to others."""
    for program in state.programs.known.values():
        assert (program.spec is None) == program.state.final, program.id
        waits = program.state is ProgramState.WAITING
        assert waits == (program.id.number in state.programs.waiting), program.id
        assert program.state is not ProgramState.RUNNING or program.executor in alive, program.id
    for executor in state.executors.taking() if state.programs.waiting else ():
        full = len(state.programs.on(executor.index)) >= DRIVERS_PER_EXECUTOR_MAX
        assert full, f"a program waits that {executor.id} could run"
    for session in state.sessions.open.values():
        if session.driver is not None:
            assert state.programs.of(session.driver) is not None, f"{session.driver} is heard"
