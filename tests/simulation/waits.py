"""`why` tells the truth: whatever a job waits for is really there, and somebody watches it."""

from __future__ import annotations

from flowgrid_scheduler.attempts import AttemptState
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.jobs import Job, JobState
from flowgrid_scheduler.waiting import why

from flowgrid.ids import AttemptId
from flowgrid.protocol.waits import Wait, WaitKind

_BY_STATE = {
    WaitKind.ATTEMPT: (AttemptState.RUNNING,),
    WaitKind.BACKLOG: (AttemptState.ASSIGNED, AttemptState.CANCELLING),
}


def check_waits(state: ClusterState) -> None:
    """After every event, for every job that has not been forgotten."""
    for job in state.jobs.values():
        waits = why(state, job.id)
        assert waits, f"{job.id} waits for nothing"
        *stages, last = waits
        assert all(wait.kind is WaitKind.STAGE for wait in stages), waits
        assert all(wait.text and wait.owner for wait in waits), waits
        assert last.deadline_s is not None, f"nobody watches {last}"
        assert last.deadline_s >= 0, last
        _check_witness(state, job, last)


def _check_witness(state: ClusterState, job: Job, wait: Wait) -> None:
    match wait.kind:
        case WaitKind.ATTEMPT | WaitKind.BACKLOG:
            assert wait.attempt is not None
            _check_attempt(state, job, wait, wait.attempt)
        case WaitKind.SLOT:
            names = {f"executor {executor.id.name}" for executor in state.executors.alive.values()}
            assert wait.owner in names, wait
            assert any(stage.queue for stage in job.open), f"{job.id} has nothing for a slot"
        case WaitKind.EXECUTOR:
            assert not state.executors.alive or job.state is JobState.RUNNING
        case WaitKind.DRIVER:
            session = state.sessions.open[job.session]
            assert wait.owner == f"driver {session.name}"
            unfinished = any(stage.remaining for stage in job.stages)
            assert job.state is JobState.SUCCEEDED or not (job.graph_complete or unfinished)
        case WaitKind.STAGE:
            raise AssertionError(f"the chain does not end: {wait}")


def _check_attempt(state: ClusterState, job: Job, wait: Wait, attempt: AttemptId) -> None:
    (holder,) = (e for e in state.executors.alive.values() if attempt in e.attempts)
    assert wait.owner == f"executor {holder.id.name}"
    assert holder.attempts[attempt] in _BY_STATE[wait.kind], wait
    assert job.stages[attempt.stage].is_current(attempt), f"nobody wants {attempt}"
