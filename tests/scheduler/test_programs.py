"""What drivers of submitted programs print, on its way through the scheduler."""

from __future__ import annotations

from flowgrid_scheduler.programs import READER_BEHIND_BYTES_MAX, READER_PATIENCE_S

from flowgrid.ids import ProgramId
from flowgrid.protocol.programs import (
    AskProgram,
    DriverPrinted,
    Output,
    OutputTaken,
    ProgramStatus,
)
from tests.scheduler.story import Story, sent_to_drivers, sent_to_executors
from tests.scheduler.test_program_drivers import FIRST, asks, printed, status_of, submits


def test_a_driver_is_held_up_by_its_reader_and_by_nobody_else(story: Story) -> None:
    piece = READER_BEHIND_BYTES_MAX
    story.joins("a")
    submits(story)
    actions = story.executor_says("a", DriverPrinted(Output(FIRST, 0, bytes(piece))))
    assert sent_to_executors(actions, OutputTaken), "nobody reads"
    assert len(printed(status_of(story))) == piece

    behind = DriverPrinted(Output(FIRST, piece, bytes(piece)))
    assert not sent_to_executors(story.executor_says("a", behind), OutputTaken)
    caught_up = asks(story, AskProgram(ProgramId(1), 0, 2 * piece))
    assert sent_to_executors(caught_up, OutputTaken) == [("a", OutputTaken(FIRST, 2 * piece))]

    story.executor_says("a", DriverPrinted(Output(FIRST, 2 * piece, bytes(2 * piece))))
    gone = story.time_passes(READER_PATIENCE_S + 1)
    assert sent_to_executors(gone, OutputTaken) == [("a", OutputTaken(FIRST, 4 * piece))]


def test_what_was_read_is_not_told_again_and_what_comes_twice_is_there_once(story: Story) -> None:
    story.joins("a")
    submits(story)
    story.executor_says("a", DriverPrinted(Output(FIRST, 0, b"one two ")))
    story.executor_says("a", DriverPrinted(Output(FIRST, 4, b"two three", error=True)))
    (status,) = sent_to_drivers(asks(story, AskProgram(ProgramId(1), 0, 2)), ProgramStatus)
    assert [(p.offset, p.data, p.error) for p in status.output] == [
        (2, b"e two ", False),
        (8, b"three", True),
    ]
