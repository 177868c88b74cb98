"""The scheduler's sockets and clock: frames in to events, actions out to frames. It decides nothing.

One turn of the loop takes what has come (heartbeats first, so that a flood of other words never makes a
healthy executor look silent), lets the core handle it, writes what changed into the job log, and then
sends what the core wants, one envelope per peer.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec
import zmq

from flowgrid.config import Config
from flowgrid.ids import ExecutorId
from flowgrid.protocol.codec import (
    DecodeError,
    driver_envelopes,
    executor_envelopes,
    heartbeats,
)
from flowgrid.protocol.messages import AskStatus, DriverEnvelope, ExecutorEnvelope
from flowgrid.protocol.versions import local_versions
from flowgrid.protocol.waits import AskWhy
from flowgrid.transport.security import Keys, Role, admission, role_of
from flowgrid.transport.sockets import bind_router
from flowgrid_scheduler.actions import Action
from flowgrid_scheduler.cluster import ClusterIdentity
from flowgrid_scheduler.core import SchedulerCore
from flowgrid_scheduler.events import Event, ExecutorUnreachable, SessionUnreachable, Tick
from flowgrid_scheduler.job_log import Changes, JobLog, Key, LogFullError
from flowgrid_scheduler.journal import Journal, JournalHeader
from flowgrid_scheduler.links import Links, Peer

FRAMES_PER_TURN_MAX = 500
"""Frames taken from one socket before the others and the clock have their turn."""

_ROOM_WAIT_S = 5.0
_ROOM_LOOK_S = 0.05
"""How long a full disk may hold up the log, less than executors wait for us, and how often we look."""


class SchedulerServer:
    """Holds a `SchedulerCore`, which goes on where `log` ends. Without a log its jobs end with it.

    Raises `InsecureBindError` for an address that needs keys.
    """

    def __init__(
        self, bind: str, state_dir: Path, config: Config, keys: Keys | None, log: JobLog | None
    ) -> None:
        with contextlib.ExitStack() as opened:
            context = opened.enter_context(zmq.Context())
            opened.enter_context(admission(context, keys))
            self._control, self.control_address = bind_router(context, bind, keys)
            opened.enter_context(self._control)
            self._heartbeat, self.heartbeat_address = bind_router(context, _beside(bind), keys)
            opened.enter_context(self._heartbeat)
            epoch = int.from_bytes(os.urandom(8), "big") >> 1
            identity = ClusterIdentity(epoch, local_versions(), self.heartbeat_address)
            facts: Iterable[tuple[Key, bytes]] = log.read() if log is not None else ()
            self._journal: Journal | None = None
            if config.scheduler_record_events:
                facts = tuple(facts)
                header = JournalHeader(identity, config.to_conf(), facts)
                self._journal = opened.enter_context(contextlib.closing(Journal(state_dir, header)))
            self._opened = opened.pop_all()
        self._core = SchedulerCore(config, identity, facts)
        self._log = log
        self._write_log()
        self._roles_known = keys is not None
        self._links = Links(self._control, epoch, self._core.state.sessions.received)
        self._actions: list[Action] = []
        self._probe_at = 0.0
        self.frames_refused = 0
        """Frames that were no message of ours, or came under a name that is taken."""

    def run(self, stop_fds: tuple[int, ...]) -> None:
        """Serve until one of these file descriptors is readable (or at its end)."""
        poller = zmq.Poller()
        for source in (self._heartbeat, self._control, *stop_fds):
            poller.register(source, zmq.POLLIN)
        try:
            while not self._asked_to_stop(poller, stop_fds):
                self._turn()
            self._links.send(self._core.stop())
            if self._log is not None:
                self._log.discard()
        finally:
            self.close()

    def close(self) -> None:
        """Close everything; last words may linger for a moment."""
        self._opened.close()

    def _asked_to_stop(self, poller: zmq.Poller, stop_fds: tuple[int, ...]) -> bool:
        """Wait for the next frame or the next deadline."""
        deadlines = [self._core.next_deadline(), self._probe_at if self._links else None]
        known = [deadline for deadline in deadlines if deadline is not None]
        timeout_s = max(0.0, min(known) - time.monotonic()) if known else None
        readable = poller.poll(None if timeout_s is None else int(timeout_s * 1000) + 1)
        return any(source in stop_fds for source, _ in readable)

    def _turn(self) -> None:
        self._take_heartbeats()
        self._take_control()
        now = time.monotonic()
        deadline = self._core.next_deadline()
        if deadline is not None and now >= deadline:
            self._handle(Tick())
        if now >= self._probe_at:
            self._probe_at = now + self._links.probe_interval_s
            for peer in self._links.probe():
                self._handle(_unreachable(peer))
        self._write_log()
        actions, self._actions = self._actions, []
        self._links.send(actions)

    def _handle(self, event: Event, encoded: bytes | None = None) -> None:
        now = time.monotonic()
        if self._journal is not None:
            self._journal.append(now, event, encoded)
        self._actions += self._core.handle(event, now)

    def _write_log(self) -> None:
        """From here on our death does not undo what was decided."""
        if self._log is None:
            self._core.state.log.take()
        elif changes := self._core.changes():
            self._write_when_there_is_room(self._log, changes)
        if self._journal is not None:
            self._journal.flush()

    def _write_when_there_is_room(self, log: JobLog, changes: Changes) -> None:
        """Attempts that find the disk full too give back what they took, and nobody starts others."""
        deadline = time.monotonic() + _ROOM_WAIT_S
        while True:
            try:
                return log.write(changes)
            except LogFullError:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(_ROOM_LOOK_S)

    def _take_heartbeats(self) -> None:
        for identity, payload, role in _drain(self._heartbeat, self._roles_known):
            try:
                heartbeat = heartbeats.decode(payload)
            except DecodeError:
                self.frames_refused += 1
                continue
            if role not in (None, Role.EXECUTOR):
                self.frames_refused += 1
                continue
            # Who was lost and is back says nothing else: its fence needs a way to it.
            self._links.heard(heartbeat.executor, identity)
            self._handle(heartbeat, payload)
            if not self._core.state.executors.present(heartbeat.executor):
                continue
            with contextlib.suppress(zmq.ZMQError):  # it is gone, or does not read
                answer = self._links.sign_of_life(heartbeat.executor)
                self._heartbeat.send_multipart((identity, answer), zmq.DONTWAIT)

    def _take_control(self) -> None:
        for identity, payload, role in _drain(self._control, self._roles_known):
            try:
                envelope = _decode(payload)
            except DecodeError:
                self.frames_refused += 1
                continue
            encoded: bytes | None = payload
            if isinstance(envelope, DriverEnvelope) and not envelope.session:
                # An observer without a session is known by its connection.
                envelope = msgspec.structs.replace(envelope, session=f"observer-{identity.hex()}")
                encoded = None
            if _may_say(role, envelope) and self._links.heard(_peer(envelope), identity):
                self._handle(envelope, encoded)
            else:
                self.frames_refused += 1


def _beside(control_bind: str) -> str:
    """Where heartbeats go: a Unix socket beside the control socket, or a free port of its host."""
    if control_bind.startswith("ipc:"):
        return f"{control_bind}.heartbeat"
    return control_bind.rpartition(":")[0] + ":0"


def _drain(
    socket: zmq.Socket[bytes], roles_known: bool
) -> Iterator[tuple[bytes, bytes, str | None]]:
    """What has come to a socket, up to a limit: from whom, what, and in which role."""
    for _ in range(FRAMES_PER_TURN_MAX):
        try:
            if roles_known:
                sender, *_, frame = socket.recv_multipart(zmq.DONTWAIT, copy=False)
                yield sender.bytes, frame.bytes, role_of(frame)
            else:
                identity, *_, payload = socket.recv_multipart(zmq.DONTWAIT)
                yield identity, payload, None
        except zmq.Again:
            return


def _may_say(role: str | None, envelope: DriverEnvelope | ExecutorEnvelope) -> bool:
    """Whether a key's role allows an envelope; without keys everybody on this machine may."""
    match role:
        case None:
            return True
        case Role.EXECUTOR:
            return isinstance(envelope, ExecutorEnvelope)
        case Role.SUBMITTER:
            return isinstance(envelope, DriverEnvelope)
        case _:
            return isinstance(envelope, DriverEnvelope) and all(
                isinstance(message, AskStatus | AskWhy) for message in envelope.messages
            )


def _decode(payload: bytes) -> DriverEnvelope | ExecutorEnvelope:
    """An envelope begins with its sender: an executor's id is an array, a session is text."""
    if payload[1:2] == b"\x92":
        return executor_envelopes.decode(payload)
    return driver_envelopes.decode(payload)


def _peer(envelope: DriverEnvelope | ExecutorEnvelope) -> Peer:
    return envelope.executor if isinstance(envelope, ExecutorEnvelope) else envelope.session


def _unreachable(peer: Peer) -> Event:
    if isinstance(peer, ExecutorId):
        return ExecutorUnreachable(peer)
    return SessionUnreachable(peer)
