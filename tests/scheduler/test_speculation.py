"""A straggler gets a rival; one of both wins, and both must agree."""

from __future__ import annotations

import msgspec
import pytest
from flowgrid_scheduler.paces import ROWS_AT_LEAST, Paces
from flowgrid_scheduler.stages import TaskState

from flowgrid.config import Config
from flowgrid.ids import AttemptId
from flowgrid.protocol.failures import FailureKind
from flowgrid.protocol.messages import (
    AttemptCancelled,
    AttemptSucceeded,
    CancelAttempts,
    DropAttempts,
    JobSucceeded,
)
from tests.scheduler.story import (
    Story,
    broadcast,
    maps,
    sent_to_executors,
    shuffle,
)

COVERS = ["paces"]


@pytest.fixture
def straggling(story: Story) -> Story:
    """Three of four tasks took a second; the fourth runs on "b"."""
    return straggles(story)


def straggles(story: Story, **spec: object) -> Story:
    stage = msgspec.structs.replace(maps(4), **spec)
    story.joins("a", "b", slots=2).submits(stage, broadcast(2, stage))
    attempts = story.launched(0)
    story.starts(*attempts)
    story.time_passes(1.0)
    last = next(attempt for attempt in attempts if story.live[attempt] == "b")
    story.succeeds(*(attempt for attempt in attempts if attempt != last))
    return story


def rival_of(story: Story) -> AttemptId:
    """The second attempt of the task that straggles."""
    (rival,) = [attempt for attempt in story.launched(0) if attempt.number == 1]
    return rival


def test_a_rival_does_not_run_where_its_task_has_failed(story: Story) -> None:
    story.joins("a", "b", slots=2).submits(maps(4), complete=False)
    attempts = story.launched(0)
    story.starts(*attempts)
    story.time_passes(1.0)
    unlucky = next(attempt for attempt in attempts if story.live[attempt] == "a")
    story.succeeds(*(attempt for attempt in attempts if attempt != unlucky))
    story.fails(unlucky, FailureKind.PROCESS_DIED)
    again = rival_of(story)
    assert story.live[again] == "b"
    story.starts(again)

    story.time_passes(30)

    assert len(story.launched(0)) == 1, "a rival on the executor that failed the task"
    story.joins("c", slots=1)
    story.time_passes(1)
    assert sorted(story.live.values()) == ["b", "c"]


def test_a_straggler_gets_a_rival_on_another_executor(straggling: Story) -> None:
    straggling.time_passes(1.5)
    assert all(attempt.number == 0 for attempt in straggling.launched(0)), "too early"
    straggling.time_passes(1.0)
    assert straggling.live[rival_of(straggling)] == "a"
    straggling.time_passes(30)
    assert len(straggling.launched(0)) == 2, "one rival is enough"


def test_the_first_to_succeed_wins_and_the_other_is_cancelled(straggling: Story) -> None:
    straggling.time_passes(3)
    rival, (slow,) = rival_of(straggling), straggling.launched(0)[:1]

    straggling.succeeds(rival)

    assert ("b", CancelAttempts((slow,))) in sent_to_executors(straggling.asked, CancelAttempts)
    stage = straggling.core.state.jobs[1].stages[0]
    assert stage.blocks.attempts[rival.partition] == rival.number
    straggling.live.pop(slow)
    straggling.executor_says("b", AttemptCancelled(slow))
    straggling.finishes_stage(1)
    assert straggling.told_driver(JobSucceeded)


def test_the_straggler_may_win_too(straggling: Story) -> None:
    straggling.time_passes(3)
    rival, (slow,) = rival_of(straggling), straggling.launched(0)[:1]

    straggling.succeeds(slow)

    assert ("a", CancelAttempts((rival,))) in sent_to_executors(straggling.asked, CancelAttempts)
    assert straggling.core.state.jobs[1].stages[0].complete


def loser_succeeds_too(story: Story, salt: int) -> AttemptId:
    story.time_passes(3)
    rival, (slow,) = rival_of(story), story.launched(0)[:1]
    report = story.report(slow, salt=salt)
    story.succeeds(rival)
    story.live.pop(slow)
    story.executor_says("b", AttemptSucceeded(slow, report))
    return slow


def test_a_loser_that_succeeded_all_the_same_is_dropped_if_it_wrote_the_same(
    straggling: Story,
) -> None:
    slow = loser_succeeds_too(straggling, salt=0)
    assert sent_to_executors(straggling.asked, DropAttempts) == [("b", DropAttempts((slow,)))]
    straggling.finishes_stage(1)
    assert straggling.told_driver(JobSucceeded)


def test_two_attempts_that_differ_fail_the_job_by_name(straggling: Story) -> None:
    loser_succeeds_too(straggling, salt=1)
    failed = straggling.failure()
    assert failed.failure.kind is FailureKind.INDETERMINATE
    assert "maps 0" in failed.failure.message
    assert "deterministic=False" in failed.failure.message


@pytest.mark.parametrize("number", [0, 1])
def test_when_one_of_both_fails_the_other_goes_on(straggling: Story, number: int) -> None:
    straggling.time_passes(3)
    both = straggling.launched(0)

    straggling.fails(both[number], FailureKind.DISK_FULL)

    (left,) = [attempt for attempt in straggling.launched(0) if attempt in both]
    stage = straggling.core.state.jobs[1].stages[0]
    assert stage.states[left.partition] == TaskState.LIVE
    straggling.finishes_stage(0)
    straggling.finishes_stage(1)
    assert straggling.told_driver(JobSucceeded)


def test_losing_an_executor_loses_one_of_both(straggling: Story) -> None:
    straggling.time_passes(3)
    rival = rival_of(straggling)
    straggling.forgets("b")
    straggling.hangs_up("b")
    assert rival in straggling.launched(0)
    straggling.finishes_stage(0)
    straggling.finishes_stage(1)
    assert straggling.told_driver(JobSucceeded)


def test_what_is_declared_not_to_be_deterministic_has_no_rival() -> None:
    story = straggles(Story.with_defaults(), deterministic=False)
    story.time_passes(30)
    assert len(story.launched(0)) == 1


def test_a_task_that_waits_comes_before_a_rival() -> None:
    story = straggles(Story.with_defaults())
    story.submits(maps(40))
    story.time_passes(10)
    assert len(story.launched(0, job=1)) == 1


def test_it_can_be_switched_off() -> None:
    story = straggles(Story(Config.parse({"speculation.enabled": "false"})))
    story.time_passes(30)
    assert len(story.launched(0)) == 1


def test_a_task_with_more_rows_may_take_longer(story: Story) -> None:
    story.joins("a", "b", slots=4).submits(*shuffle(1, 4))
    (mapper,) = story.launched(0)
    report = story.report(mapper)
    rows = (10, 10, 10, 20 * ROWS_AT_LEAST)
    story.live.pop(mapper)
    story.executor_says("a", AttemptSucceeded(mapper, msgspec.structs.replace(report, rows=rows)))
    readers = story.launched(1)
    story.starts(*readers)
    story.time_passes(1)
    big = next(attempt for attempt in readers if attempt.partition == 3)
    story.succeeds(*(attempt for attempt in readers if attempt != big))

    story.time_passes(20)
    assert story.launched(1) == [big]
    story.time_passes(60)
    assert len(story.launched(1)) == 2


def test_the_median_pace_says_what_is_expected() -> None:
    paces = Paces()
    assert paces.expected_s(0) is None
    for run_s in (1.0, 9.0, 2.0):
        paces.add(run_s, rows=0)
    assert paces.expected_s(0) == pytest.approx(2.0)
    assert paces.expected_s(ROWS_AT_LEAST) == pytest.approx(4.0)
