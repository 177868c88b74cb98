"""What follows from the words of a driver."""

from __future__ import annotations

from typing import assert_never

from flowgrid.config import Config
from flowgrid.errors import ConfigError
from flowgrid.ids import JobId
from flowgrid.protocol.departures import DecommissionExecutor
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.messages import (
    AddStages,
    AskStatus,
    CancelJob,
    CloseSession,
    FromDriver,
    JobAccepted,
    KeepAlive,
    OpenSession,
    ReleaseJob,
    ReportFetchFailed,
    SayAgain,
    SessionOpened,
    SessionRefused,
    StageSucceeded,
    SubmitJob,
)
from flowgrid.protocol.programs import AskProgram, CancelProgram, SubmitProgram
from flowgrid.protocol.waits import AskWhy, JobWaits
from flowgrid_scheduler import departures, kept_jobs, program_drivers, recovery, session_ends
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.jobs import GraphError, Job, JobState
from flowgrid_scheduler.sessions import Session
from flowgrid_scheduler.stages import TaskState
from flowgrid_scheduler.waiting import why


def open_session(state: ClusterState, word: OpenSession) -> None:
    """Greet a driver, or refuse it by name."""
    reason = state.incompatible(word.versions)
    try:
        config = Config.parse({**state.config.to_conf(), **word.conf})
    except ConfigError as error:
        reason = reason or str(error)
    if word.driver is not None and state.programs.of(word.driver) is None:
        reason = reason or f"{word.driver} was given up, and nobody listens to it any more"
    if reason:
        state.out.to_driver(word.session, SessionRefused(reason))
        return
    number = state.sessions.next_number
    session = Session(word.session, word.name, config, state.clock.awake_s, number, word.driver)
    session.run = _run_of(state, session)
    state.sessions.add(session)
    _greet(state, session)


def _run_of(state: ClusterState, session: Session) -> str:
    """All drivers of a submitted program are one run, and so are those that go on from each other."""
    if session.driver is not None:
        return state.programs.known[session.driver.program].token
    name = session.config.resume_name
    return (state.sessions.last_run(name) or session.id) if name else ""


def _greet(state: ClusterState, session: Session) -> None:
    alive, slots = len(state.executors.alive), state.executors.slots
    state.out.to_driver(session.id, SessionOpened(state.identity.epoch, alive, slots, session.run))


def welcome_back(state: ClusterState, session: Session, heard: int) -> None:
    """A driver of the log speaks, in its envelope `heard`: tell it again what it may not have heard
    from our predecessor."""
    session.away, session.resuming = False, True
    session.heard_s = state.clock.awake_s
    state.out.to_driver(session.id, SayAgain(session.received, heard))
    _greet(state, session)
    for request, id_ in session.requests.items():
        state.out.to_driver(session.id, JobAccepted(request, id_))
    for record in state.verdicts.values():
        if record.session == session.id:
            state.out.to_driver(session.id, JobAccepted(record.request, record.failed.job))
            state.out.to_driver(session.id, record.failed)
    for job in state.jobs.values():
        if job.session == session.id:
            _tell_again(state, job)


def _tell_again(state: ClusterState, job: Job) -> None:
    if job.state is JobState.KEPT:
        return  # it is released
    for stage in sorted(job.graph, key=job.order_of):
        if stage.reported and stage is not job.result:
            statistics = stage.blocks.statistics()
            state.out.to_driver(job.session, StageSucceeded(stage.id, statistics))
    if job.state is not JobState.SUCCEEDED or job.result is None:
        return
    if TaskState.LOST in job.result.states:
        state.resume_job(job)
        job.recompute()
    else:
        state.out.to_driver(job.session, job.succeeded(state.executors.address_of))


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
                kept_jobs.release(state, session, job)
        case ReportFetchFailed():
            job = _own_job(state, session, message.job)
            if job is not None:
                recovery.result_fetch_failed(state, job, message)
        case CloseSession():
            kept_jobs.forget_runs(state, session.config.resume_name)
            session_ends.end_session(state, session)
        case AskStatus():
            state.out.to_driver(session.id, state.status())
        case DecommissionExecutor():
            answered = departures.decommission(state, message.executor)
            state.out.to_driver(session.id, answered)
        case AskWhy():
            state.out.to_driver(session.id, JobWaits(message.job, why(state, message.job)))
        case SubmitProgram() | AskProgram() | CancelProgram():
            state.out.to_driver(session.id, program_drivers.answer(state, message))
        case OpenSession() | KeepAlive():
            pass  # the first came twice, the second did its work by coming
        case _:
            assert_never(message)


def _own_job(state: ClusterState, session: Session, id_: JobId) -> Job | None:
    """A driver's word reaches its own jobs only."""
    job = state.jobs.get(id_.number)
    if job is None or job.session != session.id or job.state is JobState.KEPT:
        return None
    return job


def _submit(state: ClusterState, session: Session, message: SubmitJob) -> None:
    known = session.requests.get(message.request)
    if known is not None:
        state.out.to_driver(session.id, JobAccepted(message.request, known))
        return
    job = kept_jobs.take_over(state, session, message)
    if job is None:
        job = _new_job(state, session, message)
    state.log.job(job.id)
    session.requests[message.request] = job.id
    state.rotation.append(job)
    state.out.to_driver(session.id, JobAccepted(message.request, job.id))
    _grow(state, job, AddStages(job.id, message.stages, message.complete))


def _new_job(state: ClusterState, session: Session, message: SubmitJob) -> Job:
    state.jobs_submitted += 1
    id_ = JobId(state.jobs_submitted)
    awake_s = state.clock.awake_s
    job = Job(id_, session.id, message.name, session.config, awake_s, message.request)
    state.log.cluster()
    state.jobs[id_.number] = job
    return job


def _grow(state: ClusterState, job: Job, message: AddStages) -> None:
    """Add stages; what they read and is lost by now must be made again."""
    if job.graph_complete:
        return  # it came twice
    before = list(job.stages)
    try:
        stages = job.add_stages(message.stages, message.complete)
    except GraphError as error:
        state.fail_job(job, Failure(FailureKind.INTERNAL, f"invalid job graph: {error}"))
        return
    for stage in stages:
        state.log.stage(job.id, stage.spec.number)
    kept_jobs.forget_replaced(state, job, before)
    state.log.job(job.id)
    job.recompute()
    finished = sorted((stage for stage in stages if stage.complete), key=job.order_of)
    if job.result is not None and job.result.complete and job.result not in finished:
        finished.append(job.result)
    for stage in finished:
        state.stage_completed(job, stage)
