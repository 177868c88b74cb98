"""Every word of a driver has its effect exactly once, however often its scheduler dies."""

from __future__ import annotations

import pytest

from flowgrid.protocol.codec import driver_envelopes
from flowgrid.protocol.messages import (
    KeepAlive,
    SayAgain,
    SessionOpened,
    ToDriver,
    ToDriverEnvelope,
)
from flowgrid.submit.session_link import EnvelopeLostError, SessionForgottenError, SessionLink

GREETING = SessionOpened(1, 1, 2)


def link_with(envelopes: int) -> SessionLink:
    link = SessionLink("s")
    for _ in range(envelopes):
        link.seal([KeepAlive()])
    return link


def opened(
    link: SessionLink,
    epoch: int,
    sequence: int,
    *words: ToDriver,
    received: int = 0,
    number: int = 0,
) -> tuple[list[ToDriver], list[int]]:
    """The words of an envelope, and the numbers of those that are sent again."""
    messages, again = link.open(ToDriverEnvelope(epoch, sequence, words, received, number))
    return list(messages), [driver_envelopes.decode(payload).sequence for payload in again]


def test_what_the_log_does_not_have_is_sent_again_in_order() -> None:
    link = link_with(4)
    assert opened(link, 1, 0, GREETING, received=2) == ([GREETING], [])
    assert opened(link, 2, 0, SayAgain(3), GREETING, received=3) == ([GREETING], [3])


def test_a_driver_that_was_never_heard_begins_again() -> None:
    assert opened(link_with(3), 5, 0, SayAgain(0)) == ([], [0, 1, 2])


def test_what_came_between_the_question_and_its_departure_is_not_sent_again() -> None:
    link = link_with(3)
    opened(link, 1, 0, received=2)
    assert opened(link, 2, 0, SayAgain(1), received=2) == ([], [2])


def test_one_scheduler_is_answered_once_however_many_envelopes_make_it_ask() -> None:
    link = link_with(3)
    assert opened(link, 1, 0, SayAgain(0, heard=1)) == ([], [0, 1, 2])
    assert opened(link, 1, 1, SayAgain(0, heard=2)) == ([], [])


def test_an_answer_that_was_lost_is_given_again_when_what_came_after_it_makes_the_scheduler_ask() -> (
    None
):
    link = link_with(2)
    opened(link, 1, 0, SayAgain(0, heard=1))
    link.seal([KeepAlive()])
    assert opened(link, 1, 1, SayAgain(0, heard=2)) == ([], [0, 1, 2])
    assert opened(link, 1, 2, SayAgain(0, heard=2)) == ([], [])


def test_what_is_in_the_log_for_sure_is_forgotten_here() -> None:
    link = link_with(3)
    opened(link, 1, 0, GREETING, received=2)
    with pytest.raises(SessionForgottenError):
        opened(link, 2, 0, SayAgain(0))


def test_the_last_words_of_the_dead_are_not_heard() -> None:
    link = link_with(1)
    opened(link, 1, 0, GREETING)
    opened(link, 2, 0, SayAgain(0), GREETING)
    assert opened(link, 1, 1, GREETING) == ([], [])
    assert opened(link, 2, 1, GREETING) == ([GREETING], [])


def test_a_gap_is_an_error_and_a_repetition_is_none() -> None:
    link = link_with(1)
    opened(link, 1, 0, GREETING)
    assert opened(link, 1, 0, GREETING) == ([], [])
    with pytest.raises(EnvelopeLostError, match="number 1"):
        opened(link, 1, 2, GREETING)


def test_a_scheduler_that_had_given_the_connection_up_counts_anew_and_is_heard() -> None:
    """Found by schedule 21630: its greeting had a number that the driver had heard before."""
    link = link_with(3)
    opened(link, 1, 0, SayAgain(0, heard=1), number=1)
    opened(link, 1, 1, SayAgain(0, heard=2), number=1)
    assert opened(link, 1, 0, GREETING, received=3, number=2) == ([GREETING], [])
    assert opened(link, 1, 2, GREETING, received=3, number=1) == ([], []), "words of the old one"
    with pytest.raises(EnvelopeLostError):
        opened(link, 1, 2, received=3, number=2)
