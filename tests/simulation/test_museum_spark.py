"""Spark's bugs, told to our scheduler: each once cost somebody rows, a hang or a job.

The number in a name is that of the ticket. What is random by nature `test_seeds.py` plays too; here it
is played on purpose.
"""

from __future__ import annotations

from flowgrid_scheduler.actions import Action
from flowgrid_scheduler.events import ExecutorUnreachable

from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.protocol.failures import FailureKind, FetchCause
from flowgrid.protocol.job_graph import OutputKind, StageInput, StageSpec
from flowgrid.protocol.messages import (
    AttemptCancelled,
    AttemptSucceeded,
    CancelAttempts,
    DropAttempts,
    ExecutorEnvelope,
    Fence,
    JobSucceeded,
    RegisterExecutor,
    StageSucceeded,
)
from flowgrid.protocol.reports import AttemptReport, WrittenFile
from tests.scheduler.story import (
    ROWS,
    VERSIONS,
    Story,
    address,
    executor_id,
    fetch_failure,
    launches,
    maps,
    one_to_one,
    sent_to_executors,
    shuffle,
)

SINK = StageSpec(0, "write", 1, OutputKind.FILES)


def wrote(attempt: AttemptId) -> AttemptSucceeded:
    """What a sink attempt says: its files are its own, in a folder that bears its name."""
    files = (WrittenFile(f"part-{attempt.partition}", ROWS, 8 * ROWS),)
    return AttemptSucceeded(attempt, AttemptReport((), files=files))


def is_lost(story: Story, name: str) -> list[Action]:
    """Its connection is closed."""
    story.forgets(name)
    return story.happens(ExecutorUnreachable(executor_id(name)))


def committed(story: Story) -> list[AttemptId]:
    """The attempts whose files the driver is told to publish."""
    (succeeded,) = story.told_driver(JobSucceeded)
    return [attempt for attempt, _ in succeeded.files]


# -- one winner ----------------------------------------------------------------------------------------


def test_spark_24589_two_attempts_cannot_both_commit_a_partition(story: Story) -> None:
    story.joins("a", "b").submits(SINK, complete=True)
    (first,) = story.launched(0)
    old = story.live[first]
    is_lost(story, old)
    (second,) = story.launched(0)

    story.executor_says(story.live[second], wrote(second))
    story.executor_says(old, wrote(first))

    assert committed(story) == [second]


def test_spark_26634_an_old_attempt_holds_no_grant_that_keeps_the_new_one_waiting(
    story: Story,
) -> None:
    first = maps(1)
    story.joins("a").submits(first, one_to_one(first))
    story.finishes_stage(0)
    (old,) = story.launched(1)
    report = story.report(old)
    story.fails(old, fetch_failure(AttemptId(1, 0, 0, 0), "a"))
    story.executor_says("a", AttemptSucceeded(old, report))
    story.finishes_stage(0)

    assert story.launched(1) == [AttemptId(1, 1, 0, 1)]
    story.finishes_stage(1)
    (succeeded,) = story.told_driver(JobSucceeded)
    assert succeeded.outputs.attempts == (1,)


def test_spark_39195_files_of_one_who_died_before_its_report_stay_invisible(story: Story) -> None:
    story.joins("a", "b").submits(SINK)
    (written,) = story.launched(0)
    story.starts(written)
    is_lost(story, story.live[written])  # its files lie complete in the staging folder

    (again,) = story.launched(0)
    story.executor_says(story.live[again], wrote(again))

    assert committed(story) == [again]


def test_spark_19631_who_has_failed_cannot_commit(story: Story) -> None:
    story.joins("a", "b").submits(SINK)
    (failed,) = story.launched(0)
    name = story.live[failed]
    story.fails(failed, FailureKind.DISK_FULL)

    actions = story.executor_says(name, wrote(failed))

    assert sent_to_executors(actions, DropAttempts) == [(name, DropAttempts((failed,)))]
    (again,) = story.launched(0)
    story.executor_says(story.live[again], wrote(again))
    assert committed(story) == [again]


def test_spark_23433_a_late_success_completes_no_stage_and_leaves_no_zombie(story: Story) -> None:
    story.joins("a", "b").submits(*shuffle(2, 1))
    late, other = story.launched(0)
    report = story.report(late)
    name = story.live[late]
    story.fails(late, FailureKind.INTERNAL)
    story.succeeds(other)

    story.executor_says(name, AttemptSucceeded(late, report))

    assert not story.told_driver(StageSucceeded), "the stage is done when its winners are there"
    story.finishes_stage(0)
    assert len(story.told_driver(StageSucceeded)) == 1
    story.finishes_stage(1)
    assert not story.core.state.rotation


# -- recomputing what is lost, and nothing else --------------------------------------------------------


def test_spark_14649_a_reader_with_an_old_location_reruns_no_producer(story: Story) -> None:
    story.joins("a").submits(*shuffle(1, 2))
    story.finishes_stage(0)
    first, second = story.launched(1)
    lost = fetch_failure(AttemptId(1, 0, 0, 0), "a")
    story.fails(first, lost)
    story.finishes_stage(0)

    actions = story.fails(second, lost)  # it had begun before the map ran again

    assert [attempt.stage for attempt in launches(actions)] == [1]


def test_spark_29551_a_lost_executor_is_one_retry_not_one_per_block(story: Story) -> None:
    story.joins("a", "b").submits(*shuffle(6, 2))
    held = [a for a in story.launched(0) if story.live[a] == "b"]
    story.finishes_stage(0)
    readers = [a for a in story.launched(1) if story.live[a] == "a"]

    again = launches(is_lost(story, "b"))
    assert {a.partition for a in again} >= {a.partition for a in held}
    for reader, producer in zip(readers, held, strict=False):
        actions = story.fails(reader, fetch_failure(producer, "b", FetchCause.UNREACHABLE))
        assert not [a for a in launches(actions) if a.stage == 0 and a.number > 1]
    story.finishes_stage(0)
    story.finishes_stage(1)
    assert len(story.told_driver(JobSucceeded)) == 1
    assert max(story.core.state.jobs[1].stages[0].launches) == 2


def test_spark_17644_two_jobs_that_lose_blocks_together_both_go_on(story: Story) -> None:
    story.joins("a", "b").submits(*shuffle(2, 2))
    story.submits(*shuffle(2, 2))
    for job in (1, 2):
        story.finishes_stage(0, job)

    is_lost(story, "b")

    for job in (1, 2):
        for stage in (0, 1):
            story.finishes_stage(stage, job)
    assert {word.job.number for word in story.told_driver(JobSucceeded)} == {1, 2}


def test_spark_30297_nothing_is_given_to_the_executor_that_is_being_removed(story: Story) -> None:
    story.joins("a", "b").submits(maps(4))

    actions = is_lost(story, "b")

    assert launches(actions)
    to_b = [word for name, word in sent_to_executors(actions, object) if name == "b"]
    assert [type(word) for word in to_b] == [Fence]


def test_spark_41360_who_was_lost_comes_back_as_somebody_else_or_not_at_all(story: Story) -> None:
    story.joins("a", "b")
    is_lost(story, "b")
    register = RegisterExecutor(address(executor_id("b")), 2, 1 << 30, VERSIONS)

    actions = story.happens(ExecutorEnvelope(executor_id("b"), 0, (register,)))

    assert [type(word) for _, word in sent_to_executors(actions, object)] == [Fence]
    reborn = ExecutorId("b", 4711)
    register = RegisterExecutor(address(reborn), 2, 1 << 30, VERSIONS)
    story.happens(ExecutorEnvelope(reborn, 0, (register,)))
    assert reborn in story.core.state.executors.alive


# -- versions ------------------------------------------------------------------------------------------


def two_sides(story: Story) -> tuple[AttemptId, AttemptId]:
    """A join of two one-task stages with two readers, both inputs done. Returns the readers."""
    joined = StageSpec(2, "join", 2, OutputKind.BLOCKS, inputs=(StageInput(0), StageInput(1)))
    story.joins("a").submits(maps(1), maps(1, number=1), joined)
    story.finishes_stage(0)
    story.finishes_stage(1)
    first, second = story.launched(2)
    return first, second


def test_spark_51272_a_determinate_sibling_that_fails_first_hides_nothing(story: Story) -> None:
    first, second = two_sides(story)
    story.succeeds(first)
    story.fails(second, fetch_failure(AttemptId(1, 0, 0, 0), "a"))
    story.succeeds(*story.launched(0))  # the same rows as before
    (third,) = story.launched(2)
    story.fails(third, fetch_failure(AttemptId(1, 1, 0, 0), "a"))

    story.succeeds(*story.launched(1), salt=1)  # other rows, and a reader of the old is done

    assert story.failure().failure.kind is FailureKind.INDETERMINATE


def test_spark_25341_readers_of_the_old_version_run_again_when_none_is_done(story: Story) -> None:
    first, second = two_sides(story)
    story.fails(second, fetch_failure(AttemptId(1, 1, 0, 0), "a"))

    actions = story.succeeds(*story.launched(1), salt=1)

    assert [w.attempts for _, w in sent_to_executors(actions, CancelAttempts)] == [(first,)]
    story.live.pop(first)
    story.executor_says("a", AttemptCancelled(first))
    story.finishes_stage(2)
    assert len(story.told_driver(JobSucceeded)) == 1


def test_spark_55064_a_finished_job_is_not_rolled_back_with_a_running_one(story: Story) -> None:
    story.joins("a").submits(maps(1))
    story.submits(*shuffle(1, 1))
    story.finishes_stage(0, 1)
    before = story.core.state.jobs[1].fingerprint()
    story.finishes_stage(0, 2)
    (reader,) = story.launched(1, 2)

    story.fails(reader, fetch_failure(AttemptId(2, 0, 0, 0), "a"))
    story.succeeds(*story.launched(0, 2), salt=1)

    assert story.core.state.jobs[1].fingerprint() == before
