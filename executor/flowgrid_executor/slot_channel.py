"""Messages over a stream socket: the wire between the supervisor and a slot."""

from __future__ import annotations

import socket
import struct
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")

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
            if len(data) < _RECEIVE_BYTES:
                break  # if there is more by now, or an end, the poller says so
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
