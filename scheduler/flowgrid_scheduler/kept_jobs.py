"""Jobs of programs that can be resumed: kept when their driver dies, taken over by its next run.

A kept job is the job itself with all its blocks, and nothing of it runs. When the next run of the
program submits a job of which a kept one's stages serve some, the kept job is its job from then on: what
has succeeded is not run again. Only stages that the new driver has submitted itself count, one by one;
where it submits another than there was, that one takes its place.

What a driver has released is kept as well while its session lasts, because the next run will ask for
it before it comes to where this one died. A session that ends in good order leaves nothing. One that is
lost is remembered also without jobs until another goes on: that is how the next driver learns that it
is part of the same run, and what has been published is not published again.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowgrid.protocol.job_graph import OutputKind
from flowgrid.protocol.messages import DropAttempts, SubmitJob
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.jobs import Job, JobState
from flowgrid_scheduler.sessions import Session
from flowgrid_scheduler.stages import Stage

KEPT_MAX = 1_000
"""Jobs kept at once: however small their blocks are, each of them takes memory here."""


# -- while its driver is there, and when it dies ---------------------------------------------------


def release(state: ClusterState, session: Session, job: Job) -> None:
    """Its driver has read the answer. What a sink has published is no one's to publish again."""
    published = job.result is not None and job.result.spec.output is OutputKind.FILES
    if session.config.resume_name and job.state is JobState.SUCCEEDED and not published:
        _keep(state, job)
        _make_room(state)
    else:
        state.drop_job(job)


def keep_all(state: ClusterState, session: Session) -> None:
    """The driver died: everything that it has begun waits for the next run."""
    for job in _jobs_of(state, session):
        _keep(state, job)
    state.sessions.lose(session, state.clock.awake_s)
    state.log.session(session.number)
    _make_room(state)
    _forget_if_empty(state, session)


def _keep(state: ClusterState, job: Job) -> None:
    if job.state is JobState.RUNNING:
        state.rotation.remove(job)
    job.state = JobState.KEPT
    job.open = []
    state.abandon_all(job)
    state.log.job(job.id)


def _make_room(state: ClusterState) -> None:
    """The oldest go first."""
    kept = [job for job in state.jobs.values() if job.state is JobState.KEPT]
    left = sum(_bytes(job) for job in kept)
    for count, job in zip(range(len(kept), 0, -1), kept, strict=True):
        if left <= state.config.resume_keep_bytes and count <= KEPT_MAX:
            return
        left -= _bytes(job)
        state.drop_job(job)


def _bytes(job: Job) -> int:
    return sum(stage.blocks.total_bytes for stage in job.stages)


# -- when it comes back ----------------------------------------------------------------------------


def take_over(state: ClusterState, session: Session, message: SubmitJob) -> Job | None:
    """The job of an earlier run that has begun with these stages, as this session's; None if there
    is none. None of its stages is confirmed yet."""
    lost = state.sessions.lost
    earlier = [
        job
        for job in state.jobs.values()
        if job.session in lost and session.goes_on_from(lost[job.session])
    ]
    job = max(earlier, key=lambda one: one.serving(message.stages), default=None)
    if job is None or not job.serving(message.stages):
        return None
    owner = lost[job.session]
    job.session, job.request, job.name = session.id, message.request, message.name
    job.config = session.config
    job.state, job.confirmed, job.graph_complete = JobState.RUNNING, 0, False
    job.submitted_s = job.running_since_s = state.clock.awake_s
    job.result_fetch_failures = 0
    _forget_if_empty(state, owner)
    return job


def forget_replaced(state: ClusterState, job: Job, before: Sequence[Stage]) -> None:
    """Of the stages that were there `before`, those that others have replaced are forgotten by
    everybody: descriptors, winners and blocks."""
    for old, stage in zip(before, job.stages, strict=False):
        if stage is old:
            continue
        for executor in state.executors.alive.values():
            executor.told.get(job.id.number, {}).pop(stage.id.number, None)
            won = old.held_by(executor.index)
            attempts = [
                old.attempt_of(partition, old.blocks.attempts[partition]) for partition in won
            ]
            if attempts:
                state.out.to_executor(executor.id, DropAttempts(tuple(attempts)))
        for partition in range(max(len(old.states), len(stage.states))):
            state.log.winner(job.id.number, stage.id.number, partition)


# -- when nobody will come any more ----------------------------------------------------------------


def check_expiry(state: ClusterState) -> None:
    """Forget what was kept for long enough."""
    for session in list(state.sessions.lost.values()):
        assert session.lost_s is not None
        if state.clock.awake_s - session.lost_s > session.config.resume_keep_s:
            forget(state, session)
        else:
            _forget_if_empty(state, session)


def forget_runs(state: ClusterState, name: str) -> None:
    """A run of this name has come to its end: earlier ones will not be resumed any more."""
    for session in list(state.sessions.lost.values()):
        if name and session.config.resume_name == name:
            forget(state, session)


def forget(state: ClusterState, session: Session) -> None:
    """A session goes with all its jobs."""
    for job in _jobs_of(state, session):
        state.drop_job(job)
    state.sessions.remove(session)
    state.log.session(session.number)


def _forget_if_empty(state: ClusterState, session: Session) -> None:
    if not _jobs_of(state, session) and state.sessions.has_successor(session):
        forget(state, session)


def _jobs_of(state: ClusterState, session: Session) -> list[Job]:
    return [job for job in state.jobs.values() if job.session == session.id]
