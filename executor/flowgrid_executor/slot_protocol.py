"""What supervisor, template and slots say to each other over unix socketpairs.

The supervisor asks the template to fork a slot and hands over one end of a stream socketpair; from
then on it talks to the slot directly: one `RunAttempt` at a time, one answer each. Kills and deaths go
through the template, because only a parent knows that a process id still means its child.
"""

from __future__ import annotations

import socket
import struct
from typing import Generic, TypeAlias, TypeVar

import msgspec

from flowgrid.ids import AttemptId
from flowgrid.protocol.failures import Failure
from flowgrid.protocol.job_graph import Slice, StageOutputs
from flowgrid.protocol.messages import AttemptReport

T = TypeVar("T")


class AttemptError(Exception):
    """Ends an attempt with a typed failure."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


# -- supervisor and slot ---------------------------------------------------------------------------


class RunAttempt(msgspec.Struct, frozen=True, tag=True):
    """Everything a slot needs to run one attempt.

    The attempt writes ``directory/file_name(attempt)`` and nothing else there; while it is being
    written, its name has a suffix that starts with a dot (``….tmp``), so that the leftovers of a killed
    attempt are found. `spill_directory` is the slot's own and is emptied when the slot dies.
    `slices[i]` is what this task reads of input i; None is a broadcast. `host` is this executor's: a
    producer with the same host is mapped, any other fetched.
    """

    attempt: AttemptId
    payload: bytes
    task: bytes
    inputs: tuple[StageOutputs, ...]
    slices: tuple[Slice | None, ...]
    target_count: int
    directory: str
    spill_directory: str
    memory_bytes: int
    threads: int
    host: str
    settings: dict[str, str]
    keys_directory: str = ""


class AttemptDone(msgspec.Struct, frozen=True, tag=True):
    attempt: AttemptId
    report: AttemptReport


class AttemptBroke(msgspec.Struct, frozen=True, tag=True):
    attempt: AttemptId
    failure: Failure


FromSlot: TypeAlias = AttemptDone | AttemptBroke


# -- supervisor and template -----------------------------------------------------------------------


class ForkSlot(msgspec.Struct, frozen=True, tag=True):
    """Comes with the slot's end of its socketpair as a file descriptor."""

    slot: int


class KillSlot(msgspec.Struct, frozen=True, tag=True):
    slot: int


ToTemplate: TypeAlias = ForkSlot | KillSlot


class SlotForked(msgspec.Struct, frozen=True, tag=True):
    slot: int
    pid: int


class SlotDied(msgspec.Struct, frozen=True, tag=True):
    """`exit_code` is negative for a signal, as in `subprocess`; `killed` says that we sent it."""

    slot: int
    exit_code: int
    killed: bool = False


FromTemplate: TypeAlias = SlotForked | SlotDied


# -- framing ---------------------------------------------------------------------------------------

_LENGTH = struct.Struct("<Q")
_RECEIVE_BYTES = 1 << 16


class Channel(Generic[T]):
    """Messages over a stream socket, each with its length before it; `T` is what comes in.

    A slot uses it blocking (`receive`); the supervisor sets the socket non-blocking, so that a stopped
    slot cannot hold it up, and calls `arrived` and `flush` when the poller says so.
    """

    def __init__(self, stream: socket.socket, type_: type[T]) -> None:
        self.stream = stream
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(type_)
        self._encoder = msgspec.msgpack.Encoder()
        self._incoming = bytearray()
        self._outgoing = bytearray()

    def send(self, message: msgspec.Struct) -> None:
        """Raises OSError when the peer is gone."""
        body = self._encoder.encode(message)
        self._outgoing += _LENGTH.pack(len(body)) + body
        self.flush()

    def flush(self) -> None:
        while self._outgoing:
            try:
                sent = self.stream.send(self._outgoing)
            except BlockingIOError:
                return
            del self._outgoing[:sent]

    @property
    def unsent(self) -> bool:
        return bool(self._outgoing)

    def receive(self) -> T:
        """The next message, blocking. Raises EOFError when the peer is gone."""
        while (message := self._next()) is None:
            data = self.stream.recv(_RECEIVE_BYTES)
            if not data:
                raise EOFError
            self._incoming += data
        return message

    def arrived(self) -> tuple[list[T], bool]:
        """All complete messages there are, and whether the peer is still there."""
        open_ = True
        while True:
            try:
                data = self.stream.recv(_RECEIVE_BYTES)
            except BlockingIOError:
                break
            except OSError:
                data = b""
            if not data:
                open_ = False
                break
            self._incoming += data
        messages = []
        while (message := self._next()) is not None:
            messages.append(message)
        return messages, open_

    def _next(self) -> T | None:
        if len(self._incoming) < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._incoming)
        stop = _LENGTH.size + length
        if len(self._incoming) < stop:
            return None
        message = self._decoder.decode(memoryview(self._incoming)[_LENGTH.size : stop])
        del self._incoming[:stop]
        return message
