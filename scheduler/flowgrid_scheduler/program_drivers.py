"""Where the driver of a submitted program runs, and when it is started again.

A driver takes no slot: it mostly waits for its jobs, and a cluster of one slot must be able to run
both. A driver that is given up loses its session in the same step, and can open no other: there is one
driver of a program at a time, whatever still runs somewhere. Its jobs are kept for the next one, under
the program's resume name.
"""

from __future__ import annotations

import signal
from typing import assert_never

import msgspec

from flowgrid.config import MIB, Config
from flowgrid.errors import ConfigError
from flowgrid.ids import DriverId, ProgramId
from flowgrid.protocol.programs import (
    ARCHIVE_BYTES_MAX,
    AskProgram,
    CancelProgram,
    DriverEnded,
    DriverPrinted,
    EndDriver,
    HeldDriver,
    Output,
    OutputTaken,
    ProgramAnswer,
    ProgramQuestion,
    ProgramRefused,
    ProgramState,
    StartDriver,
    SubmitProgram,
)
from flowgrid_scheduler import kept_jobs, session_ends
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.executors import Executor
from flowgrid_scheduler.programs import Program

DRIVERS_PER_EXECUTOR_MAX = 8
"""Each is a Python process beside the slots, with memory that nobody has set aside for it."""

ARCHIVES_BYTES_MAX = 256 * MIB
"""All files of programs that have not ended: they are kept in our memory and in the log."""

ENDED_KEPT_MAX = 50
"""Programs that have ended, for those who ask how."""


# -- what submitters say ---------------------------------------------------------------------------


def answer(state: ClusterState, question: ProgramQuestion) -> ProgramAnswer:
    """May come without a session."""
    match question:
        case SubmitProgram():
            return _submit(state, question)
        case AskProgram():
            program = state.programs.known.get(question.program.number)
            if program is None:
                return _unknown(state, question.program)
            output = program.output.read_after(
                question.driver, question.offset, state.clock.awake_s
            )
            _take_output(state, program)
            return program.status(output)
        case CancelProgram():
            program = state.programs.known.get(question.program.number)
            if program is None:
                return _unknown(state, question.program)
            _cancel(state, program)
            return program.status()
        case _:
            assert_never(question)


def _unknown(state: ClusterState, id_: ProgramId) -> ProgramRefused:
    known = ", ".join(str(one.id) for one in state.programs.known.values()) or "none"
    return ProgramRefused(f"there is no {id_}; known: {known}")


def _submit(state: ClusterState, word: SubmitProgram) -> ProgramAnswer:
    known = state.programs.known.values()
    again = next((one for one in known if one.token == word.token), None)
    if again is not None:
        return again.status()
    try:
        config = Config.parse({**state.config.to_conf(), **word.spec.conf})
    except ConfigError as error:
        return ProgramRefused(str(error))
    if len(word.spec.archive) > ARCHIVE_BYTES_MAX:
        return ProgramRefused(f"files of more than {ARCHIVE_BYTES_MAX // MIB} MiB do not travel")
    held = sum(len(one.spec.archive) for one in known if one.spec is not None)
    if held + len(word.spec.archive) > ARCHIVES_BYTES_MAX:
        return ProgramRefused("too many programs wait or run already; submit it again later")
    state.programs_submitted += 1
    id_ = ProgramId(state.programs_submitted)
    program = Program(id_, word.token, word.spec.name, config, word.spec)
    state.programs.known[id_.number] = program
    state.log.cluster()
    state.log.program_spec(id_)
    _wait(state, program, "it waits for an executor that runs its driver")
    return program.status()


def _cancel(state: ClusterState, program: Program) -> None:
    if program.state.final:
        return
    if program.state is ProgramState.RUNNING:
        executor = _executor_of(state, program)
        if executor is not None and executor.id not in state.executors.awaited:
            state.out.to_executor(executor.id, EndDriver(program.driver))
    _end(state, program, ProgramState.CANCELLED, "it was cancelled")


# -- what becomes of drivers -----------------------------------------------------------------------


def start_waiting(state: ClusterState) -> None:
    """Give every program that waits an executor, if there is one."""
    for program in list(state.programs.waiting.values()):
        executor = _place(state, program)
        if executor is None:
            return
        del state.programs.waiting[program.id.number]
        program.state, program.text = ProgramState.RUNNING, ""
        program.drivers += 1
        program.executor, program.executor_name = executor.index, executor.id.name
        program.output.begin_driver()
        state.log.program(program.id)
        assert program.spec is not None, "it has not ended"
        conf = {**program.spec.conf, "resume.name": program.resume_name}
        spec = msgspec.structs.replace(program.spec, conf=conf)
        state.out.to_executor(executor.id, StartDriver(program.driver, spec))


def _place(state: ClusterState, program: Program) -> Executor | None:
    """The one with the fewest drivers; where the last one died only if there is no other."""
    counts = {one.index: len(state.programs.on(one.index)) for one in state.executors.taking()}
    free = [
        executor
        for executor in state.executors.taking()
        if counts[executor.index] < DRIVERS_PER_EXECUTOR_MAX
    ]

    def rank(executor: Executor) -> tuple[bool, int, int]:
        return executor.index == program.executor, counts[executor.index], executor.index

    return min(free, key=rank, default=None)


def driver_printed(state: ClusterState, word: DriverPrinted) -> None:
    program = state.programs.of(word.output.driver)
    if program is not None:
        program.output.add(word.output)
        _take_output(state, program)


def driver_ended(state: ClusterState, executor: Executor, word: DriverEnded) -> None:
    """It ended by itself, and so the program; or something killed it."""
    state.out.to_executor(executor.id, EndDriver(word.driver))
    program = state.programs.of(word.driver)
    if program is None:
        return  # it was given up before
    if word.error or word.exit_code < 0:
        how = word.error or f"was killed by {_signal_name(-word.exit_code)}"
        _died(state, program, f"{how} on {executor.id.name}")
        return
    program.exit_code = word.exit_code
    state_then = ProgramState.FAILED if word.exit_code else ProgramState.SUCCEEDED
    _end(state, program, state_then, f"it ended with exit code {word.exit_code}")


def executor_lost(state: ClusterState, executor: Executor, reason: str, counted: bool) -> None:
    """Its drivers are gone with it, or will not be listened to any more."""
    for program in state.programs.on(executor.index):
        _died(state, program, f"was on {executor.id.name}, which is lost: {reason}", counted)


def take_back(state: ClusterState, executor: Executor, held: tuple[HeldDriver, ...]) -> None:
    """After our start: the drivers that an executor of the log runs, and how others ended meanwhile."""
    claims = {claim.driver: claim for claim in held}
    for program in state.programs.on(executor.index):
        claim = claims.pop(program.driver, None)
        if claim is None:
            _died(state, program, f"was not there any more on {executor.id.name}", counted=False)
            continue
        for piece in claim.output:
            program.output.add(piece)
        if claim.ended is not None:
            driver_ended(state, executor, claim.ended)
    for driver in claims:
        state.out.to_executor(executor.id, EndDriver(driver))


def check_waiting(state: ClusterState) -> None:
    """Fail what has waited for too long for any executor at all, and let those print whose readers
    have gone."""
    awake_s = state.clock.awake_s
    for program in state.programs.running():
        _take_output(state, program)
    if state.nobody_since_s is None:
        return
    for program in list(state.programs.waiting.values()):
        grace_s = program.config.scheduler_no_executors_grace_s
        if awake_s - max(state.nobody_since_s, program.waits_since_s) >= grace_s:
            text = (
                f"there is no executor to run its driver, and none came within {grace_s:g} s "
                "(setting scheduler.no_executors_grace_s)"
            )
            _end(state, program, ProgramState.FAILED, text)


def _died(state: ClusterState, program: Program, how: str, counted: bool = True) -> None:
    """Another driver follows, unless too many have died."""
    driver = program.driver
    for session in [one for one in state.sessions.open.values() if one.driver == driver]:
        session_ends.lose_session(state, session, f"{driver} was given up: it {how}")
    program.deaths += counted
    restarts_max = program.config.submit_restarts_max
    if program.deaths > restarts_max:
        text = f"its driver died {program.deaths} times; at last it {how} (submit.restarts_max)"
        _end(state, program, ProgramState.FAILED, text)
        return
    _note(program, f"flowgrid: the driver of {program.id} {how}; it is started again\n")
    _wait(state, program, f"it waits for an executor: its last driver {how}")


def _wait(state: ClusterState, program: Program, text: str) -> None:
    program.state, program.text = ProgramState.WAITING, text
    program.waits_since_s = state.clock.awake_s
    state.programs.waiting[program.id.number] = program
    state.log.program(program.id)


def _note(program: Program, text: str) -> None:
    """A line of ours behind what the last driver printed."""
    piece = Output(program.driver, program.output.printed, text.encode(), error=True)
    program.output.add(piece)


def _end(state: ClusterState, program: Program, how: ProgramState, text: str) -> None:
    """Nothing of it stays but how it ended."""
    program.state, program.text, program.spec = how, text, None
    state.programs.waiting.pop(program.id.number, None)
    for session in [one for one in state.sessions.open.values() if _is_of(one.driver, program)]:
        session_ends.lose_session(state, session, f"{program.id} has ended: {text}")
    kept_jobs.forget_runs(state, program.own_resume_name)
    state.log.program(program.id)
    state.log.program_spec(program.id)
    ended = [one for one in state.programs.known.values() if one.state.final]
    for old in ended[:-ENDED_KEPT_MAX]:
        del state.programs.known[old.id.number]
        state.log.program(old.id)


def _is_of(driver: DriverId | None, program: Program) -> bool:
    return driver is not None and driver.program == program.id.number


def _executor_of(state: ClusterState, program: Program) -> Executor | None:
    alive = state.executors.alive.values()
    return next((one for one in alive if one.index == program.executor), None)


def _take_output(state: ClusterState, program: Program) -> None:
    """Tell the driver's executor that what was printed is safe here."""
    executor = _executor_of(state, program)
    output = program.output
    if executor is None or program.state is not ProgramState.RUNNING:
        return
    if executor.id in state.executors.awaited:
        return
    if output.may_be_taken(program.driver.number, state.clock.awake_s):
        output.taken = output.printed
        state.out.to_executor(executor.id, OutputTaken(program.driver, output.taken))


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
