"""Pure: from the scheduler's state to the facts of its log, and back.

What is built from facts is the state of a scheduler that has just begun: its executors and drivers are
known and not yet there, nothing is launched, and every task has won or waits. `snapshot` of that state
gives the facts that it was built from.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import assert_never

from flowgrid.config import KIB, Config
from flowgrid.ids import JobId, ProgramId
from flowgrid.protocol.programs import ProgramState
from flowgrid_scheduler.block_catalog import NOBODY
from flowgrid_scheduler.cluster import ClusterIdentity, ClusterState
from flowgrid_scheduler.count_table import pack, unpack
from flowgrid_scheduler.executors import Departure
from flowgrid_scheduler.job_log import (
    CLUSTER,
    Changes,
    ClusterRecord,
    ExecutorRecord,
    JobRecord,
    Key,
    Kind,
    ProgramRecord,
    SessionRecord,
    WinnerRecord,
    decode_record,
    encode_record,
)
from flowgrid_scheduler.jobs import Job, JobState
from flowgrid_scheduler.programs import Program
from flowgrid_scheduler.sessions import Session
from flowgrid_scheduler.stages import Stage

ATTEMPTS_PER_LIFE = 1 << 16
"""Attempts are not in the log, and their numbers must never be given twice: each scheduler that goes on
with a job counts them from its own multiple of this."""


OUTPUT_LOGGED_BYTES = 64 * KIB
"""Of what a program printed last, when it has ended: its submitter may not have read it."""


# -- state to facts --------------------------------------------------------------------------------


def changes(state: ClusterState) -> Changes:
    """What has happened to the facts since the last call."""
    gone, touched = state.log.take()
    return Changes(gone, [(key, _encoded(record_of(state, key))) for key in touched])


def snapshot(state: ClusterState) -> dict[Key, bytes]:
    """All facts, as they must be in the log when all changes are written."""
    facts = ((key, record_of(state, key)) for key in _keys(state))
    return {key: encode_record(record) for key, record in facts if record is not None}


def record_of(state: ClusterState, key: Key) -> object | None:
    """The fact under a key; None if there is none (any more)."""
    match key.kind:
        case Kind.CLUSTER:
            return ClusterRecord(state.starts, state.jobs_submitted, state.programs_submitted)
        case Kind.EXECUTOR:
            return _executor_record(state, key.number)
        case Kind.SESSION:
            return _session_record(state, key.number)
        case Kind.VERDICT:
            return state.verdicts.get(key.number)
        case Kind.PROGRAM | Kind.PROGRAM_SPEC:
            program = state.programs.known.get(key.number)
            if program is None or key.kind is Kind.PROGRAM:
                return _program_record(program) if program is not None else None
            return program.spec
        case _:
            job = state.jobs.get(key.job)
            return _job_fact(state, job, key) if job is not None else None


def _executor_record(state: ClusterState, index: int) -> ExecutorRecord | None:
    known = state.executors.known.get(index)
    if known is None:
        return None
    address, slots = known
    executor = state.executors.alive.get(address.executor)
    leaving = executor is not None and executor.departure is not None
    return ExecutorRecord(address, slots, executor is not None, leaving)


def _session_record(state: ClusterState, number: int) -> SessionRecord | None:
    session = state.sessions.numbered.get(number)
    if session is None:
        return None
    conf = session.config.to_conf()
    lost = session.lost_s is not None
    name, received, driver = session.name, session.received, session.driver
    return SessionRecord(session.id, name, conf, received, lost, driver, session.run)


def _program_record(program: Program) -> ProgramRecord:
    return ProgramRecord(
        program.token,
        program.name,
        program.config.to_conf(),
        program.state,
        program.drivers,
        program.deaths,
        program.executor,
        program.executor_name,
        program.text,
        program.exit_code,
        program.output.last(OUTPUT_LOGGED_BYTES) if program.state.final else (),
    )


def _job_fact(state: ClusterState, job: Job, key: Key) -> object | None:
    match key.kind:
        case Kind.JOB:
            return JobRecord(
                job.session,
                job.request,
                job.name,
                job.state is JobState.SUCCEEDED,
                job.graph_complete,
                job.result_fetch_failures,
                tuple(job.reports),
                job.state is JobState.KEPT,
                job.confirmed,
                tuple(sorted(job.replaced.items())),
            )
        case Kind.STAGE:
            return job.stages[key.number].spec
        case _:
            return _winner_record(job.stages[key.number], key.partition)


def _winner_record(stage: Stage, partition: int) -> WinnerRecord | None:
    blocks = stage.blocks
    if partition >= len(blocks.written):
        return None  # of a stage that was replaced by a smaller one
    if stage.spec.given is not None or not blocks.written[partition]:
        return None
    rows, bytes_ = map(pack, blocks.sizes_of(partition))
    return WinnerRecord(
        blocks.attempts[partition],
        blocks.holders[partition],
        (rows, bytes_),
        blocks.digest_of(partition),
        stage.files.get(partition, ()),
    )


def _encoded(record: object | None) -> bytes | None:
    return None if record is None else encode_record(record)


def _keys(state: ClusterState) -> Iterator[Key]:
    yield CLUSTER
    yield from (Key(0, Kind.EXECUTOR, index) for index in state.executors.known)
    yield from (Key(0, Kind.SESSION, number) for number in state.sessions.numbered)
    yield from (Key(0, Kind.VERDICT, number) for number in state.verdicts)
    for number in state.programs.known:
        yield from (Key(0, Kind.PROGRAM, number), Key(0, Kind.PROGRAM_SPEC, number))
    for number, job in state.jobs.items():
        yield Key(number, Kind.JOB)
        for stage in job.stages:
            yield Key(number, Kind.STAGE, stage.spec.number)
            for partition in range(len(stage.states)):
                yield Key(number, Kind.WINNER, stage.spec.number, partition)


# -- facts to state --------------------------------------------------------------------------------


def restore(
    config: Config, identity: ClusterIdentity, facts: Iterable[tuple[Key, bytes]]
) -> ClusterState:
    """The state of a scheduler that begins with this log. Facts come by ascending key."""
    state = ClusterState(config, identity)
    confirmed: dict[int, int] = {}
    for key, body in facts:
        record = decode_record(key, body)
        match key.kind:
            case Kind.CLUSTER:
                state.starts, state.jobs_submitted = record.starts, record.jobs_submitted
                state.programs_submitted = record.programs_submitted
            case Kind.EXECUTOR:
                _restore_executor(state, key.number, record)
            case Kind.SESSION:
                _restore_session(state, key.number, record)
            case Kind.VERDICT:
                state.verdicts[key.number] = record
            case Kind.JOB:
                job = _restore_job(state, key.job, record)
                confirmed[key.job] = record.confirmed
            case Kind.STAGE:
                (stage,) = job.add_stages((record,), job.graph_complete)
                stage.reported = record.number in job.reports
            case Kind.WINNER:
                stage = job.stages[key.number]
                _restore_winner(stage, key.partition, record)
            case Kind.PROGRAM:
                _restore_program(state, key.number, record)
            case Kind.PROGRAM_SPEC:
                state.programs.known[key.number].spec = record
            case _:
                assert_never(key.kind)
    for number, job in state.jobs.items():
        job.confirmed = min(confirmed[number], job.confirmed)
    _begin(state)
    return state


def _restore_executor(state: ClusterState, index: int, record: ExecutorRecord) -> None:
    state.executors.restore(index, record.address, record.slots, record.alive)
    if record.leaving:
        state.executors.alive[record.address.executor].departure = Departure()
    elif record.alive:
        state.nobody_since_s = None


def _restore_session(state: ClusterState, number: int, record: SessionRecord) -> None:
    config = Config.parse(record.conf)
    session = Session(record.session, record.name, config, 0.0, number, record.driver)
    session.received, session.run = record.received, record.run
    if record.lost:
        state.sessions.lose(session, 0.0)
    else:
        session.away = True
        state.sessions.add(session)


def _restore_program(state: ClusterState, number: int, record: ProgramRecord) -> None:
    config = Config.parse(record.conf)
    program = Program(ProgramId(number), record.token, record.name, config, None)
    program.state, program.text = record.state, record.text
    program.drivers, program.deaths = record.drivers, record.deaths
    program.executor, program.executor_name = record.executor, record.executor_name
    program.exit_code = record.exit_code
    program.output.restore(record.output)
    state.programs.known[number] = program
    if program.state is ProgramState.WAITING:
        state.programs.waiting[number] = program


def _restore_job(state: ClusterState, number: int, record: JobRecord) -> Job:
    session = state.sessions.named(record.session)
    id_ = JobId(number)
    job = Job(id_, session.id, record.name, session.config, 0.0, record.request)
    job.graph_complete = record.graph_complete
    job.result_fetch_failures = record.result_fetch_failures
    job.reports, job.replaced = list(record.reported), dict(record.replaced)
    job.state = JobState.SUCCEEDED if record.succeeded else JobState.RUNNING
    if record.kept:
        job.state = JobState.KEPT
    session.requests[record.request] = id_
    state.jobs[number] = job
    return job


def _restore_winner(stage: Stage, partition: int, record: WinnerRecord) -> None:
    rows, bytes_ = map(unpack, record.sizes)
    stage.blocks.register(partition, record.attempt, record.holder, rows, bytes_, record.digest)
    if record.files:
        stage.files[partition] = record.files


def _begin(state: ClusterState) -> None:
    """What follows when all facts are there."""
    if state.jobs:
        state.starts += 1
    else:
        state.starts = 0
        for index in state.executors.forget_departed():
            state.log.executor(index)
    state.log.cluster()
    for job in state.jobs.values():
        for stage in job.stages:
            _resume_stage(stage, state.starts * ATTEMPTS_PER_LIFE)
        if job.state is JobState.RUNNING:
            state.rotation.append(job)
            job.recompute()


def _resume_stage(stage: Stage, first_attempt: int) -> None:
    if stage.spec.given is None:
        blocks = stage.blocks
        won = [p for p in range(len(stage.states)) if blocks.written[p]]
        stage.restore([(p, blocks.holders[p] != NOBODY) for p in won], first_attempt)
