"""Who gets which task, and what an executor is told before it starts one."""

from __future__ import annotations

from flowgrid.protocol.job_graph import OutputKind, StageInput, StageSpec
from flowgrid.protocol.messages import (
    AttemptCancelled,
    CancelAttempts,
    DescribeStage,
    JobSucceeded,
    LaunchAttempts,
    LocateInputs,
)
from tests.scheduler.story import (
    Story,
    executor_id,
    maps,
    one_to_one,
    sent_to_executors,
    shuffle,
)

COVERS = ["placement", "task_queue"]


def test_free_slots_are_filled_evenly_before_any_backlog(story: Story) -> None:
    story.joins("a", "b", slots=2).submits(maps(4))
    assert sorted(story.live.values()) == ["a", "a", "b", "b"]


def test_the_backlog_is_at_most_as_long_as_the_slots(story: Story) -> None:
    story.joins("a", slots=3).submits(maps(100))
    assert len(story.live) == 6


def test_a_stage_is_described_once_and_launched_in_batches(story: Story) -> None:
    story.joins("a", slots=8).submits(maps(16))
    assert len(sent_to_executors(story.asked, DescribeStage)) == 1
    ((_, launch),) = sent_to_executors(story.asked, LaunchAttempts)
    assert [attempt.partition for attempt in launch.attempts] == list(range(16))
    story.finishes_stage(0)
    assert len(sent_to_executors(story.asked, DescribeStage)) == 1


def test_inputs_are_located_before_the_first_launch_and_not_again(story: Story) -> None:
    story.joins("a").submits(*shuffle(2, 8))
    story.finishes_stage(0)
    words = [
        action.message
        for action in story.asked
        if isinstance(action.message, DescribeStage | LocateInputs | LaunchAttempts)
    ]
    assert [type(word) for word in words[-3:]] == [DescribeStage, LocateInputs, LaunchAttempts]
    story.finishes_stage(1)
    ((_, located),) = sent_to_executors(story.asked, LocateInputs)
    (outputs,) = located.inputs
    assert [who.executor for who in outputs.executors] == [executor_id("a")]
    assert outputs.holders == (0, 0)


def test_tasks_run_where_most_of_their_bytes_are(story: Story) -> None:
    first = maps(8)
    story.joins("a", "b", slots=4).submits(first, one_to_one(first))
    held = {attempt.partition: who for attempt, who in story.live.items()}
    story.finishes_stage(0)
    assert {a.partition: story.live[a] for a in story.launched(1)} == held


def test_a_task_that_reads_from_everywhere_waits_for_nobody(story: Story) -> None:
    story.joins("a", "b", slots=2).submits(*shuffle(5, 8))
    story.finishes_stage(0)
    assert sorted(story.live[a] for a in story.launched(1)) == ["a"] * 4 + ["b"] * 4


def test_a_free_slot_takes_what_waits_for_a_busy_executor(story: Story) -> None:
    first = maps(4)
    story.joins("a", slots=2).submits(first, one_to_one(first))
    story.succeeds(*story.launched(0)[:3])
    story.joins("b", slots=2)
    story.finishes_stage(0)
    assert sorted(story.live[a] for a in story.launched(1)) == ["a", "a", "b", "b"]


def test_a_backlog_is_taken_back_for_an_idle_executor(story: Story) -> None:
    story.joins("a", slots=2).submits(maps(4))
    story.starts(*story.launched(0)[:2])
    story.joins("b", slots=2)

    actions = story.time_passes(0.25)

    cancelled = [a for _, word in sent_to_executors(actions, CancelAttempts) for a in word.attempts]
    assert sorted(attempt.partition for attempt in cancelled) == [2, 3]
    assert not sent_to_executors(story.time_passes(2), CancelAttempts), "asked once"
    for attempt in cancelled:
        story.live.pop(attempt)
        story.executor_says("a", AttemptCancelled(attempt))
    assert sorted(story.live.values()) == ["a", "a", "b", "b"]
    story.finishes_stage(0)
    assert story.told_driver(JobSucceeded)


def test_an_attempt_that_succeeds_before_it_is_taken_back_has_won(story: Story) -> None:
    story.joins("a", slots=1).submits(maps(2))
    story.joins("b", slots=1)
    actions = story.time_passes(0.25)
    ((_, word),) = sent_to_executors(actions, CancelAttempts)
    story.succeeds(*word.attempts)
    story.finishes_stage(0)
    (succeeded,) = story.told_driver(JobSucceeded)
    assert succeeded.outputs.attempts == (0, 0)


def test_two_edges_to_one_stage_are_two_inputs(story: Story) -> None:
    first = maps(2)
    twice = StageSpec(1, "self join", 1, OutputKind.BLOCKS, inputs=(StageInput(0), StageInput(0)))
    story.joins("a").submits(first, twice)
    story.finishes_stage(0)
    ((_, located),) = sent_to_executors(story.asked, LocateInputs)
    assert len(located.inputs) == 2
    story.finishes_stage(1)
    assert story.told_driver(JobSucceeded)
