"""What the scheduler decides, as a function of what happened.

Every change of state happens below `handle`. This module does not know about sockets, clocks or
threads: `server.py` turns frames into events and actions into frames. If a test here needs to sleep,
the code is in the wrong file. Late, repeated and unknown words are legal and change nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import assert_never

import msgspec

from flowgrid.config import Config
from flowgrid.ids import ExecutorId
from flowgrid.protocol.departures import BlocksCopied, CopyFailed, DecommissionExecutor
from flowgrid.protocol.messages import (
    AskStatus,
    AttemptCancelled,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CloseSession,
    DriverEnvelope,
    ExecutorEnvelope,
    ExecutorLeft,
    ExecutorRegistered,
    Fence,
    FromExecutor,
    Heartbeat,
    KeepAlive,
    OpenSession,
    RegisterExecutor,
    SayAgain,
    SessionRefused,
    StopExecutor,
)
from flowgrid.protocol.programs import (
    AskProgram,
    CancelProgram,
    DriverEnded,
    DriverPrinted,
    SubmitProgram,
)
from flowgrid.protocol.waits import AskWhy, JobWaits
from flowgrid_scheduler import (
    departures,
    drivers,
    exclusion,
    kept_jobs,
    launches,
    outcomes,
    program_drivers,
    recovery,
    roll_call,
    session_ends,
    snapshots,
    speculation,
)
from flowgrid_scheduler.actions import Action
from flowgrid_scheduler.cluster import ClusterIdentity
from flowgrid_scheduler.events import Event, ExecutorUnreachable, SessionUnreachable, Tick
from flowgrid_scheduler.executors import Executor
from flowgrid_scheduler.job_log import Changes, Key
from flowgrid_scheduler.stalls import Movements
from flowgrid_scheduler.waiting import why


class SchedulerCore:
    """`handle` one event after another; act on what it returns, in that order."""

    def __init__(
        self, config: Config, identity: ClusterIdentity, facts: Iterable[tuple[Key, bytes]] = ()
    ) -> None:
        """Goes on where a log ends; `facts` are all that it has, by ascending key."""
        self.state = snapshots.restore(config, identity, facts)
        self._movements = Movements()

    def changes(self) -> Changes:
        """What must be in the log before any action since the last call is acted on."""
        return snapshots.changes(self.state)

    def handle(self, event: Event, now: float) -> list[Action]:
        """All that follows from one event. `now` is in seconds of any monotonic clock."""
        state = self.state
        state.clock.advance(now)
        match event:
            case ExecutorEnvelope():
                self._executor_spoke(event)
            case Heartbeat():
                self._executor_beat(event)
            case DriverEnvelope():
                self._driver_spoke(event)
            case ExecutorUnreachable():
                executor = state.executors.alive.get(event.executor)
                if executor is not None and event.executor not in state.executors.awaited:
                    recovery.lose_executor(state, executor, "its connection is closed")
            case SessionUnreachable():
                session = state.sessions.open.get(event.session)
                if session is not None:
                    session_ends.driver_lost(state, session)
            case Tick():
                state.clock.tick(now)
                roll_call.close_roll(state)
                recovery.check_silence(state)
                recovery.check_grace(state)
                program_drivers.check_waiting(state)
                session_ends.check_leases(state)
                kept_jobs.check_expiry(state)
                exclusion.check_exclusions(state)
                departures.advance(state)
                launches.revoke_backlog(state)
                state.report_owed()
                self._movements.check(state)
            case _:
                assert_never(event)
        exclusion.keep_somebody(state)
        launches.launch_ready(state)
        program_drivers.start_waiting(state)
        if isinstance(event, Tick):
            speculation.launch_rivals(state)
        return state.out.take()

    def stop(self) -> list[Action]:
        """The cluster ends in good order; nothing is handled after that."""
        for executor in self.state.executors.alive:
            self.state.out.to_executor(executor, StopExecutor())
        for session in self.state.sessions.open:
            self.state.out.to_driver(session, SessionRefused("the scheduler ends"))
        return self.state.out.take()

    def next_deadline(self) -> float | None:
        """When a `Tick` must come at the latest; None while there is nobody to watch."""
        state = self.state
        somebody = state.executors.alive or state.sessions.open
        if somebody or state.jobs or state.sessions.lost or state.programs.waiting:
            return state.clock.next_tick()
        return None

    def digest(self) -> str:
        """The same for the same state, in every process and on every machine."""
        encoded = msgspec.msgpack.encode(self.state.fingerprint())
        return hashlib.blake2b(encoded, digest_size=16).hexdigest()

    # -- executors -----------------------------------------------------------------------------

    def _executor_spoke(self, envelope: ExecutorEnvelope) -> None:
        state = self.state
        executor = state.executors.alive.get(envelope.executor)
        if executor is None:
            executor = self._register(envelope)
            if executor is None:
                return
        awaited = envelope.executor in state.executors.awaited
        if awaited and not roll_call.answered(state, executor, envelope):
            return
        if envelope.sequence < executor.received:
            return
        if envelope.sequence > executor.received:
            missing = f"envelope {executor.received} never came"
            recovery.lose_executor(state, executor, missing)
            return
        executor.received += 1
        executor.heard_s = state.clock.awake_s
        for message in envelope.messages:
            self._executor_said(executor, message)
            if envelope.executor not in state.executors.alive:
                return

    def _register(self, envelope: ExecutorEnvelope) -> Executor | None:
        """A new incarnation introduces itself in its first envelope; anybody else is fenced."""
        state, id_ = self.state, envelope.executor
        word = envelope.messages[0] if envelope.messages else None
        first = envelope.sequence == 0 and isinstance(word, RegisterExecutor)
        if not first or id_ in state.executors.departed:
            self._fence_stranger(id_)
            return None
        assert isinstance(word, RegisterExecutor)
        reason = state.incompatible(word.versions)
        if word.slots < 1 or word.address.executor != id_:
            reason = "an executor registers its own address and at least one slot"
        if reason:
            state.out.to_executor(id_, Fence(reason, final=True))
            return None
        roll_call.replace(state, word.address)
        executor = state.executors.register(word.address, word.slots, state.clock.awake_s)
        state.log.executor(executor.index)
        state.nobody_since_s = None
        registered = ExecutorRegistered(state.identity.epoch, state.identity.heartbeat_address)
        state.out.to_executor(id_, registered)
        state.announce_cluster()
        return executor

    def _executor_said(self, executor: Executor, message: FromExecutor) -> None:
        match message:
            case AttemptSucceeded():
                outcomes.attempt_succeeded(self.state, executor, message)
            case AttemptStarted():
                outcomes.attempt_started(self.state, executor, message)
            case AttemptFailed():
                outcomes.attempt_failed(self.state, executor, message)
            case AttemptCancelled():
                outcomes.attempt_cancelled(self.state, executor, message)
            case BlocksCopied():
                departures.blocks_copied(self.state, executor, message.attempt)
            case CopyFailed():
                departures.copy_failed(self.state, executor, message.attempt)
            case DriverPrinted():
                program_drivers.driver_printed(self.state, message)
            case DriverEnded():
                program_drivers.driver_ended(self.state, executor, message)
            case ExecutorLeft():
                reason = f"it left: {message.reason}"
                recovery.lose_executor(self.state, executor, reason, in_good_order=True)
            case RegisterExecutor() | KeepAlive():
                pass  # the first is done by `_register`, the second did its work by coming
            case _:
                assert_never(message)

    def _executor_beat(self, heartbeat: Heartbeat) -> None:
        executor = self.state.executors.alive.get(heartbeat.executor)
        if heartbeat.executor in self.state.executors.awaited:
            return  # to answer a roll call takes more than a heartbeat
        if executor is not None:
            executor.beat(heartbeat, self.state.clock.awake_s)
        else:
            self._fence_stranger(heartbeat.executor)

    def _fence_stranger(self, executor: ExecutorId) -> None:
        reason = "this incarnation is not (or no longer) registered"
        self.state.out.to_executor(executor, Fence(reason))

    # -- drivers -------------------------------------------------------------------------------

    def _driver_spoke(self, envelope: DriverEnvelope) -> None:
        state = self.state
        session = state.sessions.open.get(envelope.session)
        if session is None:
            self._stranger_spoke(envelope)
            return
        if session.away:
            drivers.welcome_back(state, session, envelope.sequence)
        elif session.resuming and envelope.sequence > session.received:
            again = SayAgain(session.received, envelope.sequence)
            state.out.to_driver(session.id, again)  # in case that its answer was lost
        if envelope.sequence < session.received:
            return
        if envelope.sequence > session.received:
            if session.resuming:
                return  # it comes again, after all that is missing before it
            session_ends.lose_session(state, session, f"envelope {session.received} never came")
            return
        session.received += 1
        session.resuming = False
        state.log.session(session.number)
        session.heard_s = state.clock.awake_s
        for message in envelope.messages:
            drivers.answer(state, session, message)
            if envelope.session not in state.sessions.open:
                return

    def _stranger_spoke(self, envelope: DriverEnvelope) -> None:
        """Somebody without a session opens one, asks how things are, or is sent away."""
        state, name = self.state, envelope.session
        word = envelope.messages[0] if envelope.messages else None
        match word:
            case AskStatus():
                state.out.to_driver(name, state.status())
            case DecommissionExecutor():
                state.out.to_driver(name, departures.decommission(state, word.executor))
            case AskWhy():
                state.out.to_driver(name, JobWaits(word.job, why(state, word.job)))
            case SubmitProgram() | AskProgram() | CancelProgram():
                state.out.to_driver(name, program_drivers.answer(state, word))
            case OpenSession() if (
                envelope.sequence == 0
                and word.session == name
                and name not in state.sessions.departed
            ):
                drivers.open_session(state, word)
                if name in state.sessions.open:
                    self._driver_spoke(envelope)
            case CloseSession():
                pass
            case _ if envelope.sequence > 0 and name not in state.sessions.departed:
                state.out.to_driver(name, SayAgain(0, envelope.sequence))
            case _:
                state.out.to_driver(name, SessionRefused("this session is not open (any more)"))
