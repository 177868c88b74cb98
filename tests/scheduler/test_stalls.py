"""A job of which nothing moves is reported, once per period, with what it waits for."""

from __future__ import annotations

from flowgrid.protocol.messages import Heartbeat
from flowgrid.protocol.waits import AttemptProgress, JobStalled, sentence
from tests.scheduler.story import Story, executor_id, maps


def warnings(story: Story) -> list[JobStalled]:
    return story.told_driver(JobStalled)


def test_a_job_that_does_not_move_is_reported_after_its_period_and_again(story: Story) -> None:
    story.connects(**{"scheduler.stall_warning_s": "5"}).joins("a").submits(maps(1))
    story.starts(*story.launched(0))
    story.time_passes(4.75)
    assert warnings(story) == []
    story.time_passes(1)
    (warning,) = warnings(story)
    assert warning.seconds == 5
    assert "task 0, running on a" in sentence(warning.waits)
    story.time_passes(5)
    assert [warning.seconds for warning in warnings(story)] == [5, 10]


def test_a_job_that_moves_is_not_reported(story: Story) -> None:
    story.connects(**{"scheduler.stall_warning_s": "3"}).joins("a", slots=1).submits(maps(6))
    for _ in range(3):
        story.time_passes(2)
        story.succeeds(*story.launched(0)[:1])
    assert warnings(story) == []


def test_bytes_that_come_are_movement(story: Story) -> None:
    story.connects(**{"scheduler.stall_warning_s": "3"}).joins("a").submits(maps(1))
    (attempt,) = story.launched(0)
    story.starts(attempt)
    story.falls_silent("a")  # the story's own heartbeats know nothing of what runs
    id_ = executor_id("a")
    for number in range(4):
        story.time_passes(2)
        progress = AttemptProgress(attempt, 2.0 * number, read_bytes=number)
        story.happens(Heartbeat(id_, story._sent[id_], 0, 0, (progress,)))
    assert warnings(story) == []


def test_nought_switches_it_off(story: Story) -> None:
    story.connects(**{"scheduler.stall_warning_s": "0"}).joins("a").submits(maps(1))
    story.time_passes(100)
    assert warnings(story) == []
