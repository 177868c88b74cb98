"""Asking for a program: what it prints is passed on once, whoever answers, and however often."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from threading import Thread

import pytest
import zmq

from flowgrid.errors import ConnectError, FlowGridError
from flowgrid.ids import DriverId, ProgramId
from flowgrid.protocol.codec import driver_envelopes, to_driver_envelopes
from flowgrid.protocol.messages import FromDriver, ToDriver, ToDriverEnvelope
from flowgrid.protocol.programs import (
    AskProgram,
    Output,
    ProgramRefused,
    ProgramState,
    ProgramStatus,
)
from flowgrid.submit.programs import ProgramClient
from flowgrid.transport.sockets import bind_router

PROGRAM = ProgramId(1)


def status(*output: Output, state: ProgramState = ProgramState.RUNNING) -> ProgramStatus:
    return ProgramStatus(PROGRAM, "app", state, 0, "a", "", None, output)


class Scripted:
    """A scheduler with one answer for each question; None is silence."""

    def __init__(self) -> None:
        self.asked: list[FromDriver] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._router, self.address = bind_router(self._context, "tcp://127.0.0.1:0", None)

    def answers(self, *script: Sequence[ToDriver] | None) -> None:
        self._thread = Thread(target=self._run, args=(script,))
        self._thread.start()

    def _run(self, script: tuple[Sequence[ToDriver] | None, ...]) -> None:
        for answer in script:
            identity, payload = self._router.recv_multipart()
            self.asked += driver_envelopes.decode(payload).messages
            if answer is not None:
                envelope = ToDriverEnvelope(1, 0, tuple(answer))
                self._router.send_multipart((identity, to_driver_envelopes.encode(envelope)))

    def close(self) -> None:
        self._thread.join()
        self._router.close()
        self._context.term()


@pytest.fixture
def scheduler() -> Iterator[Scripted]:
    scripted = Scripted()
    yield scripted
    scripted.close()


def test_what_is_printed_is_passed_on_once_and_to_its_own_stream(scheduler: Scripted) -> None:
    first, second = DriverId(1, 0), DriverId(1, 1)
    one = Output(first, 0, b"one ")
    scheduler.answers(
        [status(one)],
        [status(one, Output(first, 4, b"died\n", error=True), Output(second, 0, b"tw"))],
        None,
        [status(Output(second, 0, b"two"))],
        [status(state=ProgramState.SUCCEEDED)],
    )
    out, errors = io.BytesIO(), io.BytesIO()
    with ProgramClient(scheduler.address, None, 10.0) as client:
        ended = client.follow(PROGRAM, out, errors)
    assert (out.getvalue(), errors.getvalue()) == (b"one two", b"died\n")
    assert ended.state is ProgramState.SUCCEEDED
    assert scheduler.asked == [
        AskProgram(PROGRAM, 0, 0),
        AskProgram(PROGRAM, 0, 4),
        AskProgram(PROGRAM, 1, 2),
        AskProgram(PROGRAM, 1, 2),
        AskProgram(PROGRAM, 1, 3),
    ]


def test_what_is_missing_is_said_to_be_missing(scheduler: Scripted) -> None:
    late = Output(DriverId(1, 0), 100, b"the end")
    scheduler.answers(
        [status(late, state=ProgramState.FAILED)], [status(state=ProgramState.FAILED)]
    )
    out, errors = io.BytesIO(), io.BytesIO()
    with ProgramClient(scheduler.address, None, 10.0) as client:
        client.follow(PROGRAM, out, errors)
    assert out.getvalue() == b"the end"
    assert errors.getvalue() == b"flowgrid: 100 bytes are not kept any more\n"


def test_a_refusal_is_an_error_with_its_reason(scheduler: Scripted) -> None:
    scheduler.answers([ProgramRefused("there is no program-1; known: none")])
    with (
        ProgramClient(scheduler.address, None, 10.0) as client,
        pytest.raises(FlowGridError, match=r"there is no program-1"),
    ):
        client.cancel(PROGRAM)


def test_a_scheduler_that_stays_silent_is_an_error_with_the_address(scheduler: Scripted) -> None:
    scheduler.answers(None)
    with (
        ProgramClient(scheduler.address, None, 0.2) as client,
        pytest.raises(ConnectError, match=r"no scheduler answered at tcp://127.0.0.1:"),
    ):
        client.cancel(PROGRAM)
