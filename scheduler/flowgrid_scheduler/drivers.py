"""What follows from the words of a driver."""

from __future__ import annotations

from typing import assert_never

from flowgrid.config import Config
from flowgrid.errors import ConfigError
from flowgrid.ids import JobId
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.messages import (
    AddStages,
    AskStatus,
    AskWhy,
    CancelJob,
    CloseSession,
    FromDriver,
    JobAccepted,
    JobWaits,
    KeepAlive,
    OpenSession,
    ReleaseJob,
    ReportFetchFailed,
    SessionOpened,
    SessionRefused,
    SubmitJob,
)
from flowgrid_scheduler import recovery
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.jobs import GraphError, Job
from flowgrid_scheduler.sessions import Session
from flowgrid_scheduler.waiting import why


def open_session(state: ClusterState, word: OpenSession) -> None:
    """Greet a driver, or refuse it by name."""
    reason = state.incompatible(word.versions)
    try:
        config = Config.parse({**state.config.to_conf(), **word.conf})
    except ConfigError as error:
        reason = reason or str(error)
    if reason:
        state.out.to_driver(word.session, SessionRefused(reason))
        return
    state.sessions.add(Session(word.session, word.name, config, state.clock.awake_s))
    opened = SessionOpened(state.identity.epoch, len(state.executors.alive), state.executors.slots)
    state.out.to_driver(word.session, opened)


def answer(state: ClusterState, session: Session, message: FromDriver) -> None:
    """One word of a driver whose session is open."""
    match message:
        case SubmitJob():
            _submit(state, session, message)
        case AddStages():
            job = _own_job(state, session, message.job)
            if job is not None:
                _grow(state, job, message)
        case CancelJob():
            job = _own_job(state, session, message.job)
            if job is not None:
                state.fail_job(job, Failure(FailureKind.CANCELLED, message.reason))
        case ReleaseJob():
            job = _own_job(state, session, message.job)
            if job is not None:
                state.drop_job(job)
        case ReportFetchFailed():
            job = _own_job(state, session, message.job)
            if job is not None:
                recovery.result_fetch_failed(state, job, message)
        case CloseSession():
            end_session(state, session)
        case AskStatus():
            state.out.to_driver(session.id, state.status())
        case AskWhy():
            state.out.to_driver(session.id, JobWaits(message.job, why(state, message.job)))
        case OpenSession() | KeepAlive():
            pass  # the first came twice, the second did its work by coming
        case _:
            assert_never(message)


def end_session(state: ClusterState, session: Session) -> None:
    """The driver is gone: so are its jobs."""
    for job in [job for job in state.jobs.values() if job.session == session.id]:
        state.drop_job(job)
    state.sessions.remove(session)


def lose_session(state: ClusterState, session: Session, reason: str) -> None:
    """End a session whose driver may still be there, and tell it."""
    end_session(state, session)
    state.out.to_driver(session.id, SessionRefused(reason))


def check_leases(state: ClusterState) -> None:
    """Find drivers that are silent."""
    for session in list(state.sessions.open.values()):
        if session.silent(state.clock.awake_s):
            lease_s = session.config.scheduler_driver_lease_s
            lose_session(state, session, f"the driver was silent for more than {lease_s:g} s")


def _own_job(state: ClusterState, session: Session, id_: JobId) -> Job | None:
    """A driver's word reaches its own jobs only."""
    job = state.jobs.get(id_.number)
    return job if job is not None and job.session == session.id else None


def _submit(state: ClusterState, session: Session, message: SubmitJob) -> None:
    known = session.requests.get(message.request)
    if known is not None:
        state.out.to_driver(session.id, JobAccepted(message.request, known))
        return
    state.jobs_submitted += 1
    id_ = JobId(state.jobs_submitted)
    job = Job(id_, session.id, message.name, session.config, state.clock.awake_s)
    session.requests[message.request] = id_
    state.jobs[id_.number] = job
    state.rotation.append(job)
    state.out.to_driver(session.id, JobAccepted(message.request, id_))
    _grow(state, job, AddStages(id_, message.stages, message.complete))


def _grow(state: ClusterState, job: Job, message: AddStages) -> None:
    """Add stages; what they read and is lost by now must be made again."""
    if job.graph_complete:
        return  # it came twice
    try:
        stages = job.add_stages(message.stages, message.complete)
    except GraphError as error:
        state.fail_job(job, Failure(FailureKind.INTERNAL, f"invalid job graph: {error}"))
        return
    job.recompute()
    finished = [stage for stage in stages if stage.complete]
    if job.result is not None and job.result.complete and job.result not in finished:
        finished.append(job.result)
    for stage in finished:
        state.stage_completed(job, stage)
