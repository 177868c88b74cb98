"""Messages to frames and back: msgpack, typed, nothing executable.

Decoding checks every field against the message's type; what does not fit raises `DecodeError`, which
servers count and drop. User code and results are opaque bytes here.
"""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

from flowgrid.protocol.fragment import Fragment, TaskInputs
from flowgrid.protocol.messages import (
    DriverEnvelope,
    ExecutorEnvelope,
    Heartbeat,
    ToDriverEnvelope,
    ToExecutorEnvelope,
)

T = TypeVar("T")

# The last two are msgspec's too: text that is no UTF-8, and values nested too deeply to be skipped.
DecodeError = (msgspec.DecodeError, msgspec.ValidationError, UnicodeDecodeError, RecursionError)


class Codec(Generic[T]):
    """One type to bytes and back."""

    def __init__(self, type_: type[T]) -> None:
        self._encoder = msgspec.msgpack.Encoder()
        self._decoder: msgspec.msgpack.Decoder[T] = msgspec.msgpack.Decoder(type_)

    def encode(self, value: T) -> bytes:
        return self._encoder.encode(value)

    def decode(self, data: bytes | memoryview) -> T:
        return self._decoder.decode(data)


driver_envelopes = Codec(DriverEnvelope)
executor_envelopes = Codec(ExecutorEnvelope)
to_driver_envelopes = Codec(ToDriverEnvelope)
to_executor_envelopes = Codec(ToExecutorEnvelope)
heartbeats = Codec(Heartbeat)
fragments = Codec(Fragment)
task_inputs = Codec(TaskInputs)
