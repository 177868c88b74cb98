from __future__ import annotations

import socket

import pytest
from flowgrid_executor.slot_channel import Channel
from flowgrid_executor.slot_protocol import AttemptBroke

from flowgrid.ids import AttemptId
from flowgrid.protocol.failures import Failure, FailureKind

MESSAGE = AttemptBroke(AttemptId(1, 2, 3, 0), Failure(FailureKind.INTERNAL, "x" * 3_000_000))


def channels() -> tuple[Channel[AttemptBroke], Channel[AttemptBroke]]:
    left, right = socket.socketpair()
    return Channel(left, AttemptBroke), Channel(right, AttemptBroke)


def test_a_message_larger_than_the_socket_s_buffer_arrives_in_pieces() -> None:
    sender, receiver = channels()
    sender.stream.setblocking(False)
    receiver.stream.setblocking(False)
    with sender.stream, receiver.stream:
        sender.send(MESSAGE)
        assert sender.unsent, "a receiver that does not read holds nobody up"

        arrived: list[AttemptBroke] = []
        while not arrived:
            arrived, is_open = receiver.arrived()
            assert is_open
            sender.flush()

        assert arrived == [MESSAGE]
        assert not sender.unsent


def test_words_said_before_hanging_up_are_heard() -> None:
    sender, receiver = channels()
    receiver.stream.setblocking(False)
    short = AttemptBroke(MESSAGE.attempt, Failure(FailureKind.INTERNAL, "short"))
    with receiver.stream:
        with sender.stream:
            sender.send(short)
            sender.send(short)

        assert receiver.arrived() == ([short, short], True)
        assert receiver.arrived() == ([], False)


def test_a_blocking_receiver_learns_that_its_peer_is_gone() -> None:
    sender, receiver = channels()
    sender.stream.close()
    with receiver.stream, pytest.raises(EOFError):
        receiver.receive()
