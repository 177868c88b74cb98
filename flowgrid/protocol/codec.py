"""Messages to frames and back: msgpack, typed, nothing executable.

Decoding checks every field against the message's type; what does not fit raises `DecodeError`, which
servers count and drop. User code and results are opaque bytes here.
"""

from __future__ import annotations

import functools
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
        self._type = type_
        self._encoder = msgspec.msgpack.Encoder()

    @functools.cached_property
    def _decoder(self) -> msgspec.msgpack.Decoder[T]:
        """Made when it is needed: each takes a millisecond or two, and no process needs all of them."""
        return msgspec.msgpack.Decoder(self._type)

    def encode(self, value: T) -> bytes:
        return self._encoder.encode(value)

    def decode(self, data: bytes | memoryview) -> T:
        return self._decoder.decode(data)


driver_envelopes = Codec(DriverEnvelope)
executor_envelopes = Codec(ExecutorEnvelope)
to_driver_envelopes = Codec(ToDriverEnvelope)
to_executor_envelopes = Codec(ToExecutorEnvelope)
heartbeats = Codec(Heartbeat)
signs_of_life = Codec(int)
"""The answers to heartbeats: how many envelopes have left on the control link, so that an executor that
hears nothing there does not wait for ever."""
fragments = Codec(Fragment)
task_inputs = Codec(TaskInputs)
