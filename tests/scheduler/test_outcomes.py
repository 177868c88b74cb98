"""Words about attempts: winners, losers, failures, and rows that must not get lost."""

from __future__ import annotations

import msgspec
import pytest
from flowgrid_scheduler.events import ExecutorUnreachable

from flowgrid.ids import AttemptId
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.job_graph import OutputKind, StageSpec
from flowgrid.protocol.messages import (
    AttemptCancelled,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CancelAttempts,
    DropAttempts,
    DropJob,
    FromExecutor,
    JobFailed,
    JobSucceeded,
    StageProgressed,
    StageSucceeded,
)
from flowgrid.protocol.reports import AttemptReport, WrittenFile
from tests.scheduler.story import (
    ROWS,
    Story,
    broadcast,
    executor_id,
    fetch_failure,
    launches,
    maps,
    one_to_one,
    sent_to_drivers,
    sent_to_executors,
    shuffle,
)


def test_a_stage_starts_when_all_blocks_of_its_input_are_there(story: Story) -> None:
    story.joins("a").submits(*shuffle(3, 2))
    first, second, third = story.launched(0)
    story.succeeds(first, second)
    assert not story.launched(1)
    actions = story.succeeds(third)
    assert len(launches(actions)) == 2
    (succeeded,) = sent_to_drivers(actions, StageSucceeded)
    assert succeeded.statistics.rows == (3 * ROWS, 3 * ROWS)
    assert succeeded.statistics.bytes == (3 * ROWS * 8, 3 * ROWS * 8)


def test_the_answer_names_the_winner_of_every_partition(story: Story) -> None:
    story.joins("a").submits(maps(2))
    story.fails(story.launched(0)[0], FailureKind.INTERNAL)
    story.finishes_stage(0)
    (succeeded,) = story.told_driver(JobSucceeded)
    assert sorted(succeeded.outputs.attempts) == [0, 1]
    assert [who.executor for who in succeeded.outputs.executors] == [executor_id("a")]
    assert succeeded.statistics.total_rows == 2 * ROWS


def test_files_of_winners_are_listed_in_partition_order(story: Story) -> None:
    sink = StageSpec(0, "write", 2, OutputKind.FILES)
    story.joins("a").submits(sink)
    for attempt in reversed(story.launched(0)):
        files = (WrittenFile(f"part-{attempt.partition}", 5, 50),)
        story.live.pop(attempt)
        story.executor_says("a", AttemptSucceeded(attempt, AttemptReport((), files=files)))
    (succeeded,) = story.told_driver(JobSucceeded)
    assert [file.path for _, file in succeeded.files] == ["part-0", "part-1"]
    assert succeeded.statistics.total_rows == 10


def test_files_survive_the_executor_that_wrote_them(story: Story) -> None:
    sink = StageSpec(0, "write", 3, OutputKind.FILES)
    story.joins("a", "b", slots=1).submits(sink)
    (on_b,) = [a for a in story.launched(0) if story.live[a] == "b"][:1]
    report = AttemptReport((), files=(WrittenFile("part", 5, 50),))
    story.live.pop(on_b)
    story.executor_says("b", AttemptSucceeded(on_b, report))
    story.forgets("b")
    actions = story.happens(ExecutorUnreachable(executor_id("b")))
    assert on_b.partition not in [attempt.partition for attempt in launches(actions)]


def test_a_late_success_of_a_loser_is_dropped(story: Story) -> None:
    story.joins("a").submits(*shuffle(2, 2))
    late = story.launched(0)[0]
    report = story.report(late)
    story.fails(late, FailureKind.INTERNAL)
    actions = story.executor_says("a", AttemptSucceeded(late, report))
    assert [word.attempts for _, word in sent_to_executors(actions, DropAttempts)] == [(late,)]
    assert not story.core.state.jobs[1].stages[0].blocks.written[late.partition]


def test_a_winner_that_reports_twice_keeps_its_blocks(story: Story) -> None:
    story.joins("a").submits(*shuffle(2, 2))
    attempt = story.launched(0)[0]
    report = story.report(attempt)
    story.succeeds(attempt)
    before = story.core.digest()
    actions = story.executor_says("a", AttemptSucceeded(attempt, report))
    assert actions == []
    assert story.core.state.jobs[1].stages[0].blocks.attempts[attempt.partition] == 0
    assert story.core.digest() != before, "only the count of envelopes moved"


@pytest.mark.parametrize("read", [ROWS - 1, ROWS + 1, 0])
def test_rows_that_were_not_written_or_not_read_are_never_accepted(story: Story, read: int) -> None:
    first = maps(1)
    story.joins("a").submits(first, one_to_one(first))
    story.finishes_stage(0)
    (reader,) = story.launched(1)
    actions = story.succeeds(reader, rows_read=(read,))
    assert launches(actions) == [AttemptId(1, 1, 0, 1)]
    assert [word.attempts for _, word in sent_to_executors(actions, DropAttempts)] == [(reader,)]
    for _ in range(3):
        (reader,) = story.launched(1)
        story.succeeds(reader, rows_read=(read,))
    failed = story.failure()
    assert failed.failure.kind is FailureKind.ROWS_LOST
    assert str(ROWS) in failed.failure.message


def test_a_broadcast_reader_must_read_everything(story: Story) -> None:
    first = maps(3, targets=2)
    story.joins("a").submits(first, broadcast(1, first))
    story.finishes_stage(0)
    (reader,) = story.launched(1)
    story.succeeds(reader, rows_read=(6 * ROWS,))
    assert len(story.told_driver(JobSucceeded)) == 1


@pytest.mark.parametrize(
    "report",
    [
        AttemptReport((), (1,), (1,)),
        AttemptReport((1,), (1, 1), (1, 1)),
        AttemptReport((), (-1, 1), (1, 1)),
        AttemptReport((), (1, 1), (1, 1 << 63)),
        AttemptReport((), (1, 1), (1, 1), -1),
    ],
)
def test_a_report_that_cannot_be_true_is_refused(story: Story, report: AttemptReport) -> None:
    story.joins("a").submits(maps(1, targets=2))
    (attempt,) = story.launched(0)
    story.live.pop(attempt)
    actions = story.executor_says("a", AttemptSucceeded(attempt, report))
    assert launches(actions) == [AttemptId(1, 0, 0, 1)]


def test_user_errors_fail_the_job_with_the_traceback_and_the_place(story: Story) -> None:
    story.joins("a").submits(maps(1))
    story.fails(story.launched(0)[0], FailureKind.USER_ERROR)
    actions = story.fails(story.launched(0)[0], FailureKind.USER_ERROR)
    failed = story.failure()
    assert failed.failure.traceback == "line 7, in clean"
    assert failed.where == "stage 'maps 0', job-1/stage-0/task-0#1 on executor a"
    assert sent_to_executors(actions, DropJob)


@pytest.mark.parametrize(
    ("kind", "attempts"),
    [
        (FailureKind.QUERY_ERROR, 1),
        (FailureKind.INPUT_MISSING, 1),
        (FailureKind.INPUT_CHANGED, 1),
        (FailureKind.INPUT_INVALID, 1),
        (FailureKind.USER_ERROR, 2),
        (FailureKind.PROCESS_DIED, 3),
        (FailureKind.OUT_OF_MEMORY, 1),
        (FailureKind.DISK_FULL, 4),
        (FailureKind.INTERNAL, 4),
    ],
)
def test_each_kind_of_failure_has_its_own_patience(
    story: Story, kind: FailureKind, attempts: int
) -> None:
    story.joins("a", "b").submits(maps(1))
    for number in range(attempts):
        assert not story.told_driver(JobFailed)
        (attempt,) = story.launched(0)
        assert attempt.number == number
        story.fails(attempt, kind)
    expected = FailureKind.POISON if kind is FailureKind.PROCESS_DIED else kind
    assert story.failure().failure.kind is expected


def test_the_limit_is_the_sessions_own(story: Story) -> None:
    story.connects(**{"task.user_attempts_max": "1"})
    story.joins("a").submits(maps(1))
    story.fails(story.launched(0)[0], FailureKind.USER_ERROR)
    assert story.failure()


def test_a_failed_attempt_is_tried_elsewhere(story: Story) -> None:
    story.joins("a", "b").submits(maps(1))
    (attempt,) = story.launched(0)
    first = story.live[attempt]
    story.fails(attempt, FailureKind.DISK_FULL)
    (again,) = story.launched(0)
    assert story.live[again] != first


def test_a_cancelled_attempt_counts_nothing(story: Story) -> None:
    story.joins("a").submits(maps(1))
    for _ in range(10):
        (attempt,) = story.launched(0)
        story.live.pop(attempt)
        story.executor_says("a", AttemptCancelled(attempt))
    story.finishes_stage(0)
    assert story.told_driver(JobSucceeded)


def losing_the_first_of_two_maps(story: Story, reader_ends: bool) -> AttemptId:
    """Two maps, two readers; the first map's block is lost. Returns its second attempt."""
    story.joins("a").submits(*shuffle(2, 2))
    story.finishes_stage(0)
    first, second = story.launched(1)
    if reader_ends:
        story.succeeds(first)
    story.fails(second, fetch_failure(AttemptId(1, 0, 0, 0), "a"))
    (again,) = story.launched(0)
    return again


def test_a_recompute_that_differs_fails_the_job_when_a_reader_has_finished(story: Story) -> None:
    again = losing_the_first_of_two_maps(story, reader_ends=True)
    story.succeeds(again, salt=1)
    failed = story.failure()
    assert failed.failure.kind is FailureKind.INDETERMINATE
    assert "'maps 0'" in failed.failure.message


def test_a_recompute_that_differs_restarts_readers_of_the_old_version(story: Story) -> None:
    again = losing_the_first_of_two_maps(story, reader_ends=False)
    (old,) = story.launched(1)
    actions = story.succeeds(again, salt=1)
    assert [word.attempts for _, word in sent_to_executors(actions, CancelAttempts)] == [(old,)]
    story.live.pop(old)
    story.executor_says("a", AttemptCancelled(old))
    assert {attempt.number for attempt in story.launched(1)} == {1}
    story.finishes_stage(1)
    assert story.told_driver(JobSucceeded)


def test_a_reader_of_the_old_version_that_still_succeeds_is_refused(story: Story) -> None:
    again = losing_the_first_of_two_maps(story, reader_ends=False)
    (old,) = story.launched(1)
    report = story.report(old)
    story.succeeds(again, salt=1)
    story.live.pop(old)
    actions = story.executor_says("a", AttemptSucceeded(old, report))
    assert [word.attempts for _, word in sent_to_executors(actions, DropAttempts)] == [(old,)]
    assert {attempt.number for attempt in story.launched(1)} == {1}


def test_a_reader_that_is_being_taken_back_does_not_slip_through(story: Story) -> None:
    story.joins("a", slots=1).submits(*shuffle(1, 2))
    story.finishes_stage(0)
    first, waiting = story.launched(1)
    story.joins("b", slots=1).starts(first)
    report = story.report(waiting)
    story.time_passes(0.25)
    assert sent_to_executors(story.asked, CancelAttempts), "it is asked back for the idle slot"
    story.fails(first, fetch_failure(AttemptId(1, 0, 0, 0), "a"))
    (again,) = story.launched(0)
    story.succeeds(again, salt=1)
    story.live.pop(waiting)
    actions = story.executor_says("a", AttemptSucceeded(waiting, report))

    assert [word.attempts for _, word in sent_to_executors(actions, DropAttempts)] == [(waiting,)]


def test_a_recompute_that_is_the_same_is_just_accepted(story: Story) -> None:
    again = losing_the_first_of_two_maps(story, reader_ends=True)
    story.succeeds(again)
    story.finishes_stage(1)
    assert story.told_driver(JobSucceeded)


def test_progress_is_told_a_few_times_a_second(story: Story) -> None:
    story.joins("a").submits(maps(100))
    for _ in range(40):
        story.now += 0.05
        story.succeeds(story.launched(0)[0])
    progress = story.told_driver(StageProgressed)
    assert 5 <= len(progress) <= 11
    assert progress[-1].tasks == 100


def test_progress_that_came_too_soon_is_told_a_moment_later(story: Story) -> None:
    """The second of two tasks began right after the first, and nobody heard of it until one ended."""
    story.joins("a", slots=2).submits(maps(2))
    first, second = story.launched(0)
    story.starts(first)
    story.starts(second)
    assert [word.running for word in story.told_driver(StageProgressed)] == [1]

    story.time_passes(1.0)

    assert [word.running for word in story.told_driver(StageProgressed)] == [1, 2]


@pytest.mark.parametrize("word", ["started", "succeeded", "failed", "cancelled"])
@pytest.mark.parametrize(
    "attempt", [AttemptId(9, 0, 0, 0), AttemptId(1, 7, 0, 0), AttemptId(1, 0, 99, 0)]
)
def test_words_about_unknown_attempts_change_nothing(
    story: Story, word: str, attempt: AttemptId
) -> None:
    story.joins("a").submits(maps(1))
    messages: dict[str, FromExecutor] = {
        "started": AttemptStarted(attempt),
        "succeeded": AttemptSucceeded(attempt, AttemptReport((), (1,), (1,), 1)),
        "failed": AttemptFailed(attempt, Failure(FailureKind.INTERNAL, "?")),
        "cancelled": AttemptCancelled(attempt),
    }
    before = msgspec.msgpack.encode(story.core.state.jobs[1].fingerprint())
    assert story.executor_says("a", messages[word]) == []
    assert msgspec.msgpack.encode(story.core.state.jobs[1].fingerprint()) == before
