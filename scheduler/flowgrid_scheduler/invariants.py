"""What must always hold, checked after every event in tests."""

from __future__ import annotations

from collections import Counter

from flowgrid.ids import AttemptId
from flowgrid.protocol.job_graph import OutputKind
from flowgrid_scheduler.attempts import LIVE, AttemptState
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.core import SchedulerCore
from flowgrid_scheduler.jobs import Job, JobState
from flowgrid_scheduler.stages import Stage, TaskState


def check(core: SchedulerCore) -> None:
    """Raise `AssertionError` with the story if anything is not as it must be."""
    state = core.state
    attempts: Counter[AttemptId] = Counter()
    running: Counter[tuple[int, int]] = Counter()
    for executor in state.executors.alive.values():
        assert len(executor.attempts) <= executor.slots + executor.backlog_max, executor.id
        assert set(executor.told) <= set(state.jobs), "an executor was not told of a job's end"
        for attempt, current in executor.attempts.items():
            assert current in LIVE
            assert attempt.job in state.jobs, f"{attempt} outlived its job"
            attempts[attempt] += 1
            running[attempt.job, attempt.stage] += current is AttemptState.RUNNING
    assert all(count == 1 for count in attempts.values()), "an attempt runs twice"
    executors = state.executors
    assert executors.taking() or executors.awaited or not executors.staying(), (
        "everybody is excluded"
    )
    assert sorted(j.id for j in state.rotation) == sorted(
        j.id for j in state.jobs.values() if j.state is JobState.RUNNING
    )
    for job in state.jobs.values():
        kept = job.state is JobState.KEPT and job.session in state.sessions.lost
        assert kept or job.session in state.sessions.open, f"{job.id} outlived its driver"
        for stage in job.stages:
            _check_stage(state, stage, attempts)
            assert stage.running == running[stage.id.job, stage.id.number], stage.id
        if job.state is JobState.RUNNING:
            _check_progress(state, job)
    if state.jobs or state.executors.alive:
        assert core.next_deadline() is not None, "nobody watches the time"


def _check_stage(state: ClusterState, stage: Stage, attempts: Counter[AttemptId]) -> None:
    live, pending = stage.states.count(TaskState.LIVE), stage.states.count(TaskState.PENDING)
    assert stage.live == live, stage.id
    assert stage.remaining == live + pending, stage.id
    assert len(stage.queue) == pending, f"{stage.id}: a task is nowhere"
    if stage.spec.given is not None:
        return
    alive = {executor.index for executor in state.executors.alive.values()}
    for partition, task in enumerate(stage.states):
        number, holder = stage.blocks.attempts[partition], stage.blocks.holders[partition]
        if task == TaskState.SUCCEEDED:
            assert 0 <= number < stage.launches[partition], f"{stage.id} task {partition}: winner"
            assert holder in alive or stage.spec.output is OutputKind.FILES, "a winner is gone"
        else:
            assert number == holder == -1, f"{stage.id} task {partition}: blocks of nobody"
        if task == TaskState.LIVE:
            _check_contenders(state, stage, partition, attempts)


def _check_contenders(
    state: ClusterState, stage: Stage, partition: int, attempts: Counter[AttemptId]
) -> None:
    """Whoever may still succeed is somewhere; two of them are in two places."""
    contending = [stage.attempt_of(partition, n) for n in stage.contending(partition)]
    assert len(contending) <= 2, f"{contending}: more than one rival"
    for attempt in contending:
        assert attempts[attempt] == 1, f"{attempt} is live and nowhere"
    for executor in state.executors.alive.values():
        here = [attempt for attempt in contending if attempt in executor.attempts]
        assert len(here) <= 1, f"{here} are rivals on one executor"


def _check_progress(state: ClusterState, job: Job) -> None:
    """The progress witness: an attempt runs, or a place is awaited, or the driver's next word, or the
    end of the grace period."""
    expected = [
        stage
        for stage in job.graph
        if stage.remaining and all(job.stages[edge.stage].complete for edge in stage.spec.inputs)
    ]
    assert job.open == expected, f"{job.id}: the barrier is out of date"
    if not state.executors.staying():
        assert state.nobody_since_s is not None
        return
    queued = [stage for stage in job.open if stage.queue]
    taking = state.executors.taking()
    for executor in taking:
        if executor.slots_free:
            for stage in queued:
                assert not stage.queue.has_for(executor.index, alone=len(taking) == 1), (
                    f"{stage.id} could run on {executor.id}"
                )
    if not queued and not any(stage.live for stage in job.stages):
        waits_for_driver = not job.graph_complete and all(stage.complete for stage in job.graph)
        assert waits_for_driver, f"{job.id} waits for nothing"
