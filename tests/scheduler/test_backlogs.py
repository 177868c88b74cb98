"""How many attempts wait at an executor, and whom they keep waiting."""

from __future__ import annotations

from flowgrid_scheduler.actions import Action
from flowgrid_scheduler.backlogs import BACKLOG_MAX, SUCCESSES_MIN, attempts_per_slot

from flowgrid.protocol.failures import FailureKind
from flowgrid.protocol.messages import AttemptCancelled, CancelAttempts, JobSucceeded
from tests.scheduler.story import Story, maps, sent_to_executors


def short_tasks(story: Story, count: int = 1_000) -> Story:
    """Stages of tasks that take no time, of which just enough have succeeded."""
    story.joins("a", "b", slots=1).submits(maps(count))
    while count - story.core.state.jobs[1].stages[0].remaining < SUCCESSES_MIN:
        story.succeeds(next(iter(story.live)))
    return story


def test_of_short_tasks_as_many_wait_as_last_for_a_moment(story: Story) -> None:
    short_tasks(story)
    held = [len(executor.attempts) for executor in story.core.state.executors.alive.values()]
    assert held == [1 + BACKLOG_MAX] * 2
    story.finishes_stage(0)
    assert story.told_driver(JobSucceeded)


def test_nothing_is_launched_ahead_before_it_is_known_what_tasks_take(story: Story) -> None:
    story.joins("a", slots=1).submits(maps(1_000))
    for _ in range(SUCCESSES_MIN - 1):
        story.succeeds(*list(story.live)[:1])
    assert len(story.live) == 2


def test_tasks_that_take_long_wait_one_behind_each_slot(story: Story) -> None:
    story.joins("a", slots=1).submits(maps(1_000))
    for _ in range(SUCCESSES_MIN):
        first = next(iter(story.live))
        story.starts(first)
        story.now += 0.5
        story.succeeds(first)
    assert len(story.live) == 2


def test_a_failed_task_ends_the_haste_of_its_stage(story: Story) -> None:
    short_tasks(story)
    story.fails(next(iter(story.live)), FailureKind.USER_ERROR)
    assert attempts_per_slot(story.core.state.rotation) == 1


def test_the_last_short_tasks_are_shared_out_evenly(story: Story) -> None:
    short_tasks(story, count=200)
    held = [len(executor.attempts) for executor in story.core.state.executors.alive.values()]
    assert sum(held) == 200 - SUCCESSES_MIN
    assert max(held) - min(held) <= 0.25 * sum(held)


def test_a_job_of_unknown_tasks_gets_its_turn_among_short_ones(story: Story) -> None:
    short_tasks(story)
    story.submits(maps(4))
    for _ in range(2 * BACKLOG_MAX):
        story.succeeds(next(iter(story.live)))
    assert any(attempt.job == 2 for attempt in story.live) or story.told_driver(JobSucceeded)


def test_what_waits_behind_a_task_that_is_suddenly_long_goes_to_the_idle(story: Story) -> None:
    short_tasks(story, count=300)
    waiting = [attempt for attempt, who in story.live.items() if who == "a"]
    story.starts(waiting[0])
    story.succeeds(*[attempt for attempt, who in story.live.items() if who == "b"])

    for _ in range(20):
        _take_back(story, story.time_passes(0.25))
        story.succeeds(*[attempt for attempt, who in story.live.items() if who == "b"])

    assert [attempt.partition for attempt in story.live] == [waiting[0].partition]


def _take_back(story: Story, actions: list[Action]) -> None:
    for name, word in sent_to_executors(actions, CancelAttempts):
        for attempt in word.attempts:
            del story.live[attempt]
            story.executor_says(name, AttemptCancelled(attempt))
