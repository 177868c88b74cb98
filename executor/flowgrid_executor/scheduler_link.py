"""The wire between one executor incarnation and the scheduler: a control link and a heartbeat link.

Envelopes are counted in both directions. What does not fit is either from the past (dropped) or shows
that something was lost; then the link says so once, and the executor comes back as a new incarnation
with a new link.
"""

from __future__ import annotations

from collections.abc import Container, Sequence

import zmq

from flowgrid.ids import ExecutorId
from flowgrid.protocol.codec import (
    DecodeError,
    executor_envelopes,
    heartbeats,
    signs_of_life,
    to_executor_envelopes,
)
from flowgrid.protocol.messages import (
    CallRoll,
    ExecutorEnvelope,
    Fence,
    FromExecutor,
    Heartbeat,
    ToExecutor,
    ToExecutorEnvelope,
)
from flowgrid.protocol.waits import AttemptProgress
from flowgrid.transport.security import Keys
from flowgrid.transport.sockets import connect_dealer
from flowgrid_executor.events import LinkBroken, SchedulerHeard


class SchedulerLink:
    """`sockets` are to be polled; `events` has what came over them."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        executor: ExecutorId,
        keys: Keys | None,
    ) -> None:
        self._context = context
        self._executor = executor
        self._keys = keys
        self._control = connect_dealer(context, address, str(executor).encode(), keys)
        self._heartbeat: zmq.Socket[bytes] | None = None
        self._epoch: int | None = None
        self._sent = 0
        self._received = 0
        self._promised = 0
        """What the scheduler has sent, by its last sign of life that counted."""
        self._past: set[int] = set()
        """Epochs of schedulers that others have followed: their last words may still arrive."""
        self._newcomer: int | None = None
        self._newcomer_received = 0
        self._broken = False

    @property
    def sockets(self) -> list[zmq.Socket[bytes]]:
        return [self._control] + ([self._heartbeat] if self._heartbeat is not None else [])

    @property
    def epoch(self) -> int:
        """The scheduler's that we are counted by; 0 before it has spoken."""
        return self._epoch or 0

    def send_heartbeats_to(self, address: str) -> None:
        if self._heartbeat is None:
            identity = str(self._executor).encode()
            self._heartbeat = connect_dealer(self._context, address, identity, self._keys)
            self._promised = 0

    def close(self) -> None:
        for socket in self.sockets:
            socket.close()

    def send(self, messages: Sequence[FromExecutor]) -> list[LinkBroken]:
        """One envelope with all of them."""
        envelope = ExecutorEnvelope(self._executor, self._sent, tuple(messages))
        try:
            self._control.send(executor_envelopes.encode(envelope), zmq.DONTWAIT)
        except zmq.Again:
            return self._break("the scheduler does not take our messages any more")
        self._sent += 1
        return []

    def beat(
        self,
        blocks_bytes: int,
        running: Sequence[AttemptProgress],
        excluded_directories: tuple[str, ...] = (),
    ) -> None:
        if self._heartbeat is None:
            return
        beat = Heartbeat(
            self._executor,
            self._sent,
            self._received,
            blocks_bytes,
            tuple(running),
            excluded_directories,
        )
        try:
            self._heartbeat.send(heartbeats.encode(beat), zmq.DONTWAIT)
        except zmq.Again:
            return  # nobody takes them; the lease says what that means

    def events(self, readable: Container[object]) -> list[ToExecutor | LinkBroken | SchedulerHeard]:
        """Everything that has come over those of our `sockets` that are readable."""
        happened: list[ToExecutor | LinkBroken | SchedulerHeard] = []
        for frame in _drain(self._control) if self._control in readable else ():
            try:
                envelope = to_executor_envelopes.decode(frame)
            except DecodeError:
                continue  # if it was for us, the next envelope shows the gap
            if envelope.executor == self._executor:
                happened += self._open(envelope)
        if self._heartbeat in readable and self._heartbeat is not None:
            happened += self._signs_of_life(_drain(self._heartbeat))
        return happened

    def _signs_of_life(self, frames: Sequence[bytes]) -> list[SchedulerHeard]:
        """They count only as long as what was promised before has come: a scheduler whose other words
        do not arrive is as good as silent."""
        if not frames or self._received < self._promised:
            return []
        try:
            self._promised = signs_of_life.decode(frames[-1])
        except DecodeError:
            return []
        return [SchedulerHeard()]

    def _open(self, envelope: ToExecutorEnvelope) -> Sequence[ToExecutor | LinkBroken]:
        if self._broken:
            return []
        # A scheduler that does not know us counts from 0, and it is right to fence us.
        if fences := [message for message in envelope.messages if isinstance(message, Fence)]:
            self._broken = True
            return fences[:1]
        if envelope.epoch in self._past:
            return []
        calls_roll = any(isinstance(message, CallRoll) for message in envelope.messages)
        if envelope.epoch != self._epoch and (calls_roll or self._epoch is not None):
            return self._open_newcomers(envelope, calls_roll)
        if envelope.sequence < self._received:
            return []
        if envelope.sequence > self._received:
            return self._break(f"envelope {self._received} from the scheduler was lost")
        self._epoch = envelope.epoch
        self._received += 1
        # A roll is answered once; that it is called again crossed with our answer.
        return [word for word in envelope.messages if not isinstance(word, CallRoll)]

    def _open_newcomers(
        self, envelope: ToExecutorEnvelope, calls_roll: bool
    ) -> Sequence[ToExecutor | LinkBroken]:
        """Another scheduler speaks at this address: follow it when it calls the roll, and not before."""
        if envelope.epoch != self._newcomer:
            self._newcomer, self._newcomer_received = envelope.epoch, 0
        if envelope.sequence < self._newcomer_received:
            return []
        if envelope.sequence > self._newcomer_received or (envelope.messages and not calls_roll):
            return self._break("another scheduler answers at this address")
        self._newcomer_received += 1
        if not calls_roll:
            return []
        if self._epoch is not None:
            self._past.add(self._epoch)
        self._epoch, self._received, self._sent = envelope.epoch, self._newcomer_received, 0
        if self._heartbeat is not None:
            self._heartbeat.close()
            self._heartbeat = None
        return envelope.messages

    def _break(self, reason: str) -> list[LinkBroken]:
        self._broken = True
        return [LinkBroken(reason)]


def _drain(socket: zmq.Socket[bytes]) -> list[bytes]:
    frames = []
    while True:
        try:
            frames.append(socket.recv_multipart(zmq.DONTWAIT)[-1])
        except zmq.Again:
            return frames
