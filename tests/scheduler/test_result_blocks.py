"""Blocks of a result that its driver cannot read are made again."""

from __future__ import annotations

from flowgrid_scheduler.events import ExecutorUnreachable

from flowgrid.ids import AttemptId
from flowgrid.protocol.failures import FailureKind
from flowgrid.protocol.messages import JobFailed, JobSucceeded, ReportFetchFailed
from tests.scheduler.story import (
    JOB,
    Story,
    executor_id,
    fetch_failure,
    launches,
    maps,
    shuffle,
)


def test_a_lost_result_block_is_made_again_and_announced_again(story: Story) -> None:
    story.joins("a", "b").submits(*shuffle(2, 2))
    story.finishes_stage(0)
    (winner, *_) = story.launched(1)
    holder = story.live[winner]
    story.finishes_stage(1)

    actions = story.driver_says(ReportFetchFailed(JOB, fetch_failure(winner, holder)))

    assert launches(actions) == [AttemptId(1, 1, winner.partition, 1)]
    story.finishes_stage(1)
    first, second = story.told_driver(JobSucceeded)
    assert first.outputs.attempts[winner.partition] == 0
    assert second.outputs.attempts[winner.partition] == 1


def test_a_result_lost_with_its_executor_is_made_again_when_the_driver_misses_it(
    story: Story,
) -> None:
    first = maps(2)
    story.joins("a", "b").submits(first)
    (lost,) = [a for a, who in story.live.items() if who == "b"]
    story.finishes_stage(0)
    story.forgets("b")
    assert not launches(story.happens(ExecutorUnreachable(executor_id("b"))))

    story.driver_says(ReportFetchFailed(JOB, fetch_failure(lost, "b")))

    assert story.launched(0) == [AttemptId(1, 0, lost.partition, 1)]
    story.finishes_stage(0)
    assert len(story.told_driver(JobSucceeded)) == 2


def test_every_block_of_a_result_may_be_lost_and_the_driver_reads_on(story: Story) -> None:
    """A disk that dies has many blocks, and the driver meets them one by one."""
    story.joins("a", slots=1).submits(maps(10))
    story.finishes_stage(0)
    for partition in range(10):
        lost = fetch_failure(AttemptId(1, 0, partition, 0), "a")
        story.driver_says(ReportFetchFailed(JOB, lost))
        story.finishes_stage(0)
    assert not story.told_driver(JobFailed)
    assert len(story.told_driver(JobSucceeded)) == 11


def test_a_block_of_a_result_that_can_never_be_read_fails_the_job_by_name(story: Story) -> None:
    story.joins("a", slots=1).submits(maps(2))
    story.finishes_stage(0)
    for number in range(4):
        assert not story.told_driver(JobFailed)
        unreadable = fetch_failure(AttemptId(1, 0, 0, number), "a")
        story.driver_says(ReportFetchFailed(JOB, unreadable))
        story.finishes_stage(0)
    assert story.failure().failure.kind is FailureKind.FETCH_FAILED
