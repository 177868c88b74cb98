"""Drivers of submitted programs as the executor decides about them, beside its slots."""

from __future__ import annotations

from flowgrid_executor.drivers import REMEMBERED_BYTES, WINDOW_BYTES
from flowgrid_executor.events import (
    Action,
    AnswerRollCall,
    DriverExited,
    DriverSpoke,
    DropAllBlocks,
    KillDriver,
    ReadDriver,
    Rejoin,
    RunDriver,
    Send,
)

from flowgrid.ids import DriverId
from flowgrid.protocol.messages import CallRoll, Fence
from flowgrid.protocol.programs import (
    DriverEnded,
    DriverPrinted,
    EndDriver,
    HeldDriver,
    Output,
    OutputTaken,
    ProgramSpec,
    StartDriver,
)
from tests.executor.core_story import Story

COVERS = ["backlog"]

DRIVER = DriverId(3, 0)
SPEC = ProgramSpec("nightly", "app.py", (), {}, b"files")


def started() -> Story:
    story = Story()
    assert story.happens(StartDriver(DRIVER, SPEC)) == [RunDriver(DRIVER, SPEC)]
    return story


def prints(story: Story, count: int = 1) -> list[Action]:
    return story.happens(DriverSpoke(DRIVER, bytes(count), False))


def claims(story: Story) -> tuple[HeldDriver, ...]:
    (answer,) = story.happens(CallRoll())
    assert isinstance(answer, AnswerRollCall)
    return answer.drivers


def test_what_it_prints_and_how_it_ends_is_told_in_that_order() -> None:
    story = started()
    assert story.happens(StartDriver(DRIVER, SPEC)) == [], "to be told twice is to be told once"
    piece = Output(DRIVER, 0, b"hello", error=True)
    spoke = story.happens(DriverSpoke(DRIVER, b"hello", True))
    assert spoke == [Send(DriverPrinted(piece)), ReadDriver(DRIVER)]
    assert story.happens(DriverExited(DRIVER, 7)) == [Send(DriverEnded(DRIVER, 7))]


def test_a_driver_is_read_no_further_than_the_window_until_something_is_taken() -> None:
    story = started()
    assert ReadDriver(DRIVER) in prints(story, WINDOW_BYTES - 1)
    assert ReadDriver(DRIVER) not in prints(story, 10)
    assert story.happens(OutputTaken(DRIVER, 9)) == []
    assert story.happens(OutputTaken(DRIVER, 10)) == [ReadDriver(DRIVER)]
    assert story.happens(OutputTaken(DRIVER, 11)) == [], "it is being read"


def test_the_next_scheduler_is_told_what_the_last_one_may_not_have_passed_on() -> None:
    story = started()
    for _ in range(8):
        prints(story, REMEMBERED_BYTES // 4)
    story.happens(OutputTaken(DRIVER, 2 * REMEMBERED_BYTES))
    (claim,) = claims(story)
    assert (claim.driver, claim.ended) == (DRIVER, None)
    assert sum(len(piece.data) for piece in claim.output) == REMEMBERED_BYTES


def test_an_end_is_remembered_until_the_scheduler_knows_it() -> None:
    story = started()
    story.happens(DriverExited(DRIVER, 0))
    assert claims(story) == (HeldDriver(DRIVER, DriverEnded(DRIVER, 0), ()),)
    assert story.happens(EndDriver(DRIVER)) == []
    assert claims(story) == ()


def test_a_driver_that_nobody_wants_is_killed_and_not_spoken_of() -> None:
    story = started()
    assert story.happens(EndDriver(DRIVER)) == [KillDriver(DRIVER)]
    assert prints(story) == [ReadDriver(DRIVER)], "it must not wait for us to die"
    assert claims(story) == ()
    assert story.happens(DriverExited(DRIVER, -9)) == []


def test_a_fenced_executor_comes_back_when_its_drivers_are_dead() -> None:
    story = started()
    assert story.happens(Fence("silent")) == [KillDriver(DRIVER)]
    assert prints(story) == [ReadDriver(DRIVER)]
    ended = story.happens(DriverExited(DRIVER, -9))
    assert ended == [DropAllBlocks(), Rejoin("silent")]
    assert claims(story) == ()


def test_words_about_drivers_that_are_not_here_change_nothing() -> None:
    story = Story()
    assert story.happens(EndDriver(DRIVER)) == []
    assert story.happens(OutputTaken(DRIVER, 7)) == []
