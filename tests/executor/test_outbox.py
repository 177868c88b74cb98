"""What an executor says together, and what it says at once."""

from __future__ import annotations

import math

from flowgrid_executor.outbox import ENDS_WAIT_S, STARTS_WAIT_S, WORDS_MAX, Outbox

from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.messages import (
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    FromExecutor,
    KeepAlive,
)
from tests.executor.core_story import REPORT, attempt


def outbox(*words: FromExecutor) -> Outbox:
    box = Outbox()
    for word in words:
        box.add(word, now=10.0)
    return box


def started(partition: int, number: int = 0) -> AttemptStarted:
    return AttemptStarted(attempt(partition, number))


def succeeded(partition: int) -> AttemptSucceeded:
    return AttemptSucceeded(attempt(partition), REPORT)


def test_nothing_to_say_is_never_due() -> None:
    assert outbox().due(backlog=False) == math.inf
    box = outbox(started(0), succeeded(0))
    box.take()
    assert box.due(backlog=False) == math.inf


def test_a_success_is_said_at_once_when_no_attempt_waits_for_a_slot() -> None:
    assert outbox(succeeded(0)).due(backlog=False) < 10.0


def test_successes_wait_a_moment_for_each_other_while_there_is_a_backlog() -> None:
    box = outbox(succeeded(0))
    box.add(succeeded(1), now=10.001)

    assert box.due(backlog=True) == 10.0 + ENDS_WAIT_S
    assert box.take() == [succeeded(0), succeeded(1)]


def test_a_start_waits_for_its_end_and_is_not_said_beside_it() -> None:
    box = outbox(started(0), started(1))
    assert box.due(backlog=False) == 10.0 + STARTS_WAIT_S

    box.add(succeeded(0), now=10.001)

    assert box.take() == [started(1), succeeded(0)]


def test_the_start_of_a_task_that_was_tried_before_is_said_at_once() -> None:
    assert outbox(started(0, number=1)).due(backlog=True) <= 10.0


def test_whatever_goes_wrong_is_said_at_once_and_after_its_start() -> None:
    failed = AttemptFailed(attempt(0), Failure(FailureKind.USER_ERROR, "it raised"))
    box = outbox(started(0), failed)

    assert box.due(backlog=True) < 10.0
    assert box.take() == [started(0), failed]
    assert outbox(KeepAlive()).due(backlog=True) < 10.0


def test_a_full_envelope_does_not_wait() -> None:
    box = outbox(*(succeeded(partition) for partition in range(WORDS_MAX)))
    assert box.due(backlog=True) < 10.0
