"""Programs that the cluster runs itself: hand one in, read what it prints, ask for it, cancel it.

Whoever asks has no session and may come and go: the program does not depend on it. Every question may be
asked again, so a scheduler that is started anew meanwhile is only a longer wait.
"""

from __future__ import annotations

import os
import time
from typing import BinaryIO

import zmq

from flowgrid.closing import Closing
from flowgrid.errors import ConnectError, FlowGridError
from flowgrid.ids import ProgramId
from flowgrid.protocol.codec import driver_envelopes, to_driver_envelopes
from flowgrid.protocol.messages import DriverEnvelope
from flowgrid.protocol.programs import (
    AskProgram,
    CancelProgram,
    Output,
    ProgramQuestion,
    ProgramRefused,
    ProgramSpec,
    ProgramStatus,
    SubmitProgram,
)
from flowgrid.transport.security import Keys
from flowgrid.transport.sockets import connect_dealer

_ASK_AGAIN_S = 1.0
"""A question that has no answer by then may have gone to a scheduler that is gone."""

_LOOK_S = 0.2
"""Between two looks at a program that prints nothing."""


class ProgramClient(Closing):
    """Asks one scheduler. Raises `ConnectError` when it is silent for `patience_s`."""

    def __init__(self, address: str, keys: Keys | None, patience_s: float) -> None:
        self._address = address
        self._patience_s = patience_s
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            self._socket = connect_dealer(self._context, address, os.urandom(16), keys)
        except BaseException:
            self._context.term()
            raise

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()

    def submit(self, spec: ProgramSpec) -> ProgramStatus:
        """Hand a program in. Raises `FlowGridError` if it is refused."""
        return self._ask(SubmitProgram(os.urandom(16).hex(), spec))

    def cancel(self, program: ProgramId) -> ProgramStatus:
        """End it, and return how it ended: one that had ended before is as it was."""
        return self._ask(CancelProgram(program))

    def follow(self, program: ProgramId, out: BinaryIO, errors: BinaryIO) -> ProgramStatus:
        """Pass on what it prints until it has ended; returns how."""
        reader = _Reader(out, errors)
        while True:
            status = self._ask(AskProgram(program, reader.driver, reader.offset))
            if not reader.take(status.output):
                if status.state.final:
                    return status
                time.sleep(_LOOK_S)

    def _ask(self, question: ProgramQuestion) -> ProgramStatus:
        asked = driver_envelopes.encode(DriverEnvelope("", 0, (question,)))
        deadline = time.monotonic() + self._patience_s
        while time.monotonic() < deadline:
            self._socket.send(asked)
            again_at = time.monotonic() + _ASK_AGAIN_S
            while self._socket.poll(max(0, int((again_at - time.monotonic()) * 1000))):
                for message in to_driver_envelopes.decode(self._socket.recv()).messages:
                    if isinstance(message, ProgramRefused):
                        raise FlowGridError(f"{self._address}: {message.reason}")
                    if isinstance(message, ProgramStatus):
                        return message
        raise ConnectError(
            f"no scheduler answered at {self._address} within {self._patience_s:g} s: is one running "
            "there (`flowgrid scheduler`), and are the keys those of its cluster?"
        )


class _Reader:
    """Where one has read to. What comes twice is passed on once."""

    def __init__(self, out: BinaryIO, errors: BinaryIO) -> None:
        self.driver = 0
        self.offset = 0
        self._out = out
        self._errors = errors

    def take(self, pieces: tuple[Output, ...]) -> bool:
        """Whether there was something new."""
        new = [p for p in pieces if (p.driver.number, p.end) > (self.driver, self.offset)]
        for piece in new:
            if piece.driver.number != self.driver:
                self.driver, self.offset = piece.driver.number, 0
            missing = piece.offset - self.offset
            if missing > 0:
                self._errors.write(f"flowgrid: {missing} bytes are not kept any more\n".encode())
            target = self._errors if piece.error else self._out
            target.write(piece.data[max(0, -missing) :])
            target.flush()
            self.offset = piece.end
        return bool(new)
