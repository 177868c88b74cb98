"""Losing executors and blocks: what runs again, and what does not."""

from __future__ import annotations

import msgspec
import pytest
from flowgrid_scheduler.events import ExecutorUnreachable

from flowgrid.config import Config
from flowgrid.ids import AttemptId, StageId
from flowgrid.protocol.failures import FailureKind, FetchCause
from flowgrid.protocol.job_graph import OutputKind, StageInput, StageOutputs, StageSpec
from flowgrid.protocol.messages import (
    AttemptSucceeded,
    ClusterChanged,
    ExecutorLeft,
    Fence,
    JobSucceeded,
    LaunchAttempts,
    LocateInputs,
)
from tests.scheduler.story import (
    Story,
    address,
    broadcast,
    executor_id,
    fetch_failure,
    launches,
    maps,
    one_to_one,
    reduces,
    sent_to_drivers,
    sent_to_executors,
    shuffle,
)


def test_losing_an_executor_reruns_only_what_only_it_held(story: Story) -> None:
    story.joins("a", "b").submits(*shuffle(4, 2))
    held_by_b = [a.partition for a in story.launched(0) if story.live[a] == "b"]
    story.finishes_stage(0)
    story.forgets("b")

    actions = story.happens(ExecutorUnreachable(executor_id("b")))

    rerun = [attempt for attempt in launches(actions) if attempt.stage == 0]
    assert rerun == [AttemptId(1, 0, partition, 1) for partition in held_by_b]
    assert sent_to_drivers(actions, ClusterChanged) == [ClusterChanged(executors=1, slots=2)]
    story.finishes_stage(0)
    story.finishes_stage(1)
    assert len(story.told_driver(JobSucceeded)) == 1


@pytest.mark.parametrize("how", ["closed", "left", "silent", "gap"])
def test_every_way_of_losing_an_executor_is_the_same_transition(story: Story, how: str) -> None:
    story.joins("a", "b").submits(maps(2))
    lost = [a for a, who in story.live.items() if who == "b"]
    story.forgets("b")

    if how == "closed":
        actions = story.happens(ExecutorUnreachable(executor_id("b")))
    elif how == "left":
        actions = story.executor_says("b", ExecutorLeft("signal 15"))
    elif how == "gap":
        story._next(executor_id("b"))
        actions = story.executor_says("b")
    else:
        actions = story.time_passes(story.config.executor_heartbeat_timeout_s + 1)

    assert [name for name, _ in sent_to_executors(actions, Fence)] == ["b"]
    again = [AttemptId(1, 0, attempt.partition, 1) for attempt in lost]
    assert [a for a in launches(actions) if a.number] == again
    assert "b" not in [id_.name for id_ in story.core.state.executors.alive]


def test_what_a_fenced_executor_says_later_is_refused(story: Story) -> None:
    story.joins("a", "b").submits(maps(2))
    (late,) = [a for a, who in story.live.items() if who == "b"]
    word = story.report(late)
    story.forgets("b")
    story.happens(ExecutorUnreachable(executor_id("b")))
    before = story.core.digest()

    actions = story.executor_says("b", AttemptSucceeded(late, word))

    assert [name for name, _ in sent_to_executors(actions, Fence)] == ["b"]
    assert story.core.digest() == before


def test_what_comes_after_a_goodbye_is_not_heard(story: Story) -> None:
    story.joins("a", "b").submits(maps(2))
    (attempt,) = [a for a, who in story.live.items() if who == "b"]
    late = AttemptSucceeded(attempt, story.report(attempt))
    story.forgets("b")
    actions = story.executor_says("b", ExecutorLeft("signal 15"), late)
    assert [word for who, word in sent_to_executors(actions, object) if who == "b"] == [
        Fence("it left: signal 15")
    ]


def test_a_task_with_slices_wants_only_the_partitions_it_reads(story: Story) -> None:
    first = maps(4)
    story.joins("a", "b", slots=2).submits(first, one_to_one(first))
    story.finishes_stage(0)
    holder = story.core.state.jobs[1].stages[0].blocks.holders
    on_b = [p for p in range(4) if holder[p] == 1]
    done = next(a for a in story.launched(1) if a.partition in on_b and story.live[a] == "b")
    on_a = [a for a in story.launched(1) if story.live[a] == "a"]
    assert all(a.partition not in on_b for a in on_a), "tasks run where their input is"
    story.succeeds(*on_a)
    story.forgets("b")

    actions = story.happens(ExecutorUnreachable(executor_id("b")))

    assert sorted({a.partition for a in launches(actions) if a.stage == 0}) == on_b
    assert done.partition in on_b


def test_a_broadcast_wants_everything_while_one_reader_is_unfinished(story: Story) -> None:
    first = maps(4)
    story.joins("a", "b").submits(first, broadcast(3, first))
    story.finishes_stage(0)
    holder = story.core.state.jobs[1].stages[0].blocks.holders
    on_b = [p for p in range(4) if holder[p] == 1]
    story.succeeds(*[a for a in story.launched(1) if story.live[a] == "a"])
    story.forgets("b")

    actions = story.happens(ExecutorUnreachable(executor_id("b")))

    assert sorted(a.partition for a in launches(actions) if a.stage == 0) == on_b


def test_what_nobody_reads_any_more_is_not_recomputed(story: Story) -> None:
    first = maps(2)
    middle = one_to_one(first, number=1)
    story.joins("a", "b").submits(first, middle, broadcast(1, middle, number=2))
    story.finishes_stage(0)
    (on_a,) = [a for a in story.launched(1) if story.live[a] == "a"]
    (on_b,) = [a for a in story.launched(1) if story.live[a] == "b"]
    story.succeeds(on_a)
    story.forgets("b")

    actions = story.happens(ExecutorUnreachable(executor_id("b")))

    assert launches(actions) == [AttemptId(1, 0, on_b.partition, 1)], "only for the unfinished task"
    story.finishes_stage(0)
    assert [a.partition for a in story.launched(1)] == [on_b.partition]


def test_recomputing_reaches_upstream_as_far_as_needed(story: Story) -> None:
    first = maps(2)
    middle = one_to_one(first, number=1)
    story.joins("a", "b").submits(first, middle, broadcast(1, middle, number=2))
    story.finishes_stage(0)
    story.finishes_stage(1)
    story.forgets("b")

    story.happens(ExecutorUnreachable(executor_id("b")))

    assert len(story.launched(0)) == 1, "the lost middle task needs its lost input"
    assert not story.launched(1), "and waits for it"
    for stage in (0, 1, 2):
        story.finishes_stage(stage)
    assert len(story.told_driver(JobSucceeded)) == 1


def test_a_real_fetch_failure_recomputes_that_block_and_counts_nothing(story: Story) -> None:
    story.joins("a", "b").submits(*shuffle(2, 2))
    (winner, *_) = story.launched(0)
    holder = story.live[winner]
    story.finishes_stage(0)
    reader = story.launched(1)[0]

    actions = story.fails(reader, fetch_failure(winner, holder))

    assert launches(actions) == [AttemptId(1, 0, winner.partition, 1)]
    assert not story.core.state.jobs[1].stages[1].tallies
    actions = story.finishes_stage(0)
    assert AttemptId(1, 1, reader.partition, 1) in story.live
    story.finishes_stage(1)
    assert len(story.told_driver(JobSucceeded)) == 1


def test_a_stale_fetch_failure_only_reruns_the_reader_with_fresh_locations(story: Story) -> None:
    story.joins("a", "b").submits(*shuffle(2, 2))
    (winner, *_) = story.launched(0)
    holder = story.live[winner]
    story.finishes_stage(0)
    first, second = story.launched(1)
    story.fails(first, fetch_failure(winner, holder))
    story.finishes_stage(0)

    actions = story.fails(second, fetch_failure(winner, holder))

    assert [a for a in launches(actions) if a.stage == 0] == []
    assert [a for a in launches(actions) if a.stage == 1] == [AttemptId(1, 1, second.partition, 1)]
    located = [word for _, word in sent_to_executors(story.asked, LocateInputs)][-1]
    assert located.inputs[0].attempts[winner.partition] == 1


def test_an_unreachable_block_is_recomputed_elsewhere(story: Story) -> None:
    story.joins("a", "b").submits(*shuffle(2, 1))
    (winner, *_) = story.launched(0)
    holder = story.live[winner]
    story.finishes_stage(0)
    (reader,) = story.launched(1)

    actions = story.fails(reader, fetch_failure(winner, holder, FetchCause.UNREACHABLE))

    (name,) = [
        who
        for who, word in sent_to_executors(actions, LaunchAttempts)
        if word.attempts[0].stage == 0
    ]
    assert name != holder


def test_a_block_that_can_never_be_read_fails_the_job_and_does_not_loop(story: Story) -> None:
    story.joins("a").submits(*shuffle(1, 1))
    for _ in range(4):
        (winner,) = story.launched(0)
        story.finishes_stage(0)
        (reader,) = story.launched(1)
        story.fails(reader, fetch_failure(winner, "a"))
    assert story.failure().failure.kind is FailureKind.FETCH_FAILED


def test_fetch_failures_with_progress_in_between_are_forgiven(story: Story) -> None:
    story.joins("a", slots=1).submits(*shuffle(1, 8))
    for _ in range(6):
        (winner,) = story.launched(0)
        story.finishes_stage(0)
        victim, other = sorted(story.launched(1))
        assert victim.partition == 0
        story.fails(victim, fetch_failure(winner, "a"))
        story.succeeds(other)
    story.finishes_stage(0)
    story.finishes_stage(1)
    assert len(story.told_driver(JobSucceeded)) == 1


def test_tasks_that_waited_for_a_lost_executor_are_anybodys(story: Story) -> None:
    first = maps(8)
    story.joins("a", "b", slots=2).submits(first, one_to_one(first))
    story.finishes_stage(0)
    story.forgets("b")
    story.happens(ExecutorUnreachable(executor_id("b")))
    story.finishes_stage(0)
    assert set(story.core.state.jobs[1].stages[1].queue._lines) <= {0}


def given(partitions: int) -> StageSpec:
    driver = executor_id("z")
    outputs = StageOutputs(0, (address(driver),), (0,) * partitions, (0,) * partitions)
    return StageSpec(
        0,
        "table",
        partitions,
        OutputKind.BLOCKS,
        given=outputs,
        given_rows=((7,),) * partitions,
    )


def test_a_lost_given_block_fails_the_job(story: Story) -> None:
    table = given(2)
    story.joins("a").submits(table, reduces(1, table))
    (reader,) = story.launched(1)

    story.fails(reader, fetch_failure(AttemptId(1, 0, 1, 0), "z"))

    failed = story.failure()
    assert failed.failure.kind is FailureKind.FETCH_FAILED
    assert "driver" in failed.failure.message


@pytest.mark.parametrize("cause", FetchCause)
def test_a_given_block_is_known_under_the_name_that_its_driver_gave_it(
    story: Story, cause: FetchCause
) -> None:
    table = given(2)
    assert table.given is not None
    outputs = msgspec.structs.replace(table.given, written_as=StageId(0, 7))
    table = msgspec.structs.replace(table, given=outputs)
    story.joins("a").submits(table, reduces(1, table))
    while readers := story.launched(1):
        story.fails(readers[0], fetch_failure(AttemptId(0, 7, 1, 0), "z", cause))

    assert story.failure().failure.kind is FailureKind.FETCH_FAILED


def test_a_driver_that_cannot_be_reached_for_a_moment_loses_no_job(story: Story) -> None:
    table = given(1)
    story.joins("a").submits(table, reduces(1, table))
    (reader,) = story.launched(1)

    story.fails(reader, fetch_failure(AttemptId(1, 0, 0, 0), "z", FetchCause.TIMEOUT))

    story.finishes_stage(1)
    assert story.told_driver(JobSucceeded)


def test_no_executor_within_the_grace_period_is_a_named_failure(story: Story) -> None:
    story.submits(maps(1))
    story.time_passes(59)
    assert not story.core.state.jobs[1].stages[0].complete
    story.time_passes(2)
    assert story.failure().failure.kind is FailureKind.NO_EXECUTORS


def test_an_executor_that_comes_within_the_grace_period_takes_over(story: Story) -> None:
    story.joins("a").submits(maps(1))
    story.forgets("a")
    story.happens(ExecutorUnreachable(executor_id("a")))
    story.time_passes(50)
    story.joins("b")
    story.time_passes(50)
    story.finishes_stage(0)
    assert len(story.told_driver(JobSucceeded)) == 1


def test_a_task_on_which_executors_keep_dying_is_poison() -> None:
    story = Story(msgspec.structs.replace(Config(), task_process_deaths_max=2))
    story.joins("a", "b", "c", slots=1).submits(maps(1))
    for _ in range(2):
        (attempt,) = story.launched(0)
        name = story.live[attempt]
        story.starts(attempt)
        story.forgets(name)
        story.happens(ExecutorUnreachable(executor_id(name)))
    assert story.failure().failure.kind is FailureKind.POISON


def test_executors_that_leave_in_good_order_poison_nothing() -> None:
    story = Story(msgspec.structs.replace(Config(), task_process_deaths_max=2))
    story.joins("a", "b", "c", slots=1).submits(maps(1))
    for _ in range(2):
        (attempt,) = story.launched(0)
        name = story.live[attempt]
        story.starts(attempt)
        story.forgets(name)
        story.executor_says(name, ExecutorLeft("scaled down"))
    story.finishes_stage(0)
    assert story.told_driver(JobSucceeded)


def test_two_inputs_lose_blocks_together(story: Story) -> None:
    left, right = maps(2, number=0), maps(2, number=1)
    joined = StageSpec(2, "join", 1, OutputKind.BLOCKS, inputs=(StageInput(0), StageInput(1)))
    story.joins("a", "b").submits(left, right, joined)
    story.finishes_stage(0)
    story.finishes_stage(1)
    story.forgets("b")

    story.happens(ExecutorUnreachable(executor_id("b")))

    assert story.launched(0)
    assert story.launched(1)
    assert not story.launched(2) or all(story.live[a] == "a" for a in story.launched(2))
    for stage in (0, 1, 2):
        story.finishes_stage(stage)
    assert len(story.told_driver(JobSucceeded)) == 1
