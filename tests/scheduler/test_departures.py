"""An executor that leaves: nothing new for it, and nothing that it has finished is lost."""

from __future__ import annotations

from flowgrid.ids import AttemptId
from flowgrid.protocol.departures import (
    BlocksCopied,
    CopyBlocks,
    CopyFailed,
    DecommissionAnswered,
    DecommissionExecutor,
)
from flowgrid.protocol.failures import FailureKind, FetchCause
from flowgrid.protocol.messages import (
    AttemptCancelled,
    CancelAttempts,
    DriverEnvelope,
    DropAttempts,
    ExecutorLeft,
    JobSucceeded,
    ReportFetchFailed,
    StopExecutor,
)
from tests.scheduler.story import (
    JOB,
    Story,
    executor_id,
    fetch_failure,
    maps,
    sent_to_drivers,
    sent_to_executors,
    shuffle,
)


def decommission(story: Story, name: str) -> DecommissionAnswered:
    """An observer asks for it."""
    actions = story.happens(DriverEnvelope("observer", 0, (DecommissionExecutor(name),)))
    (answer,) = sent_to_drivers(actions, DecommissionAnswered)
    return answer


def on(story: Story, name: str) -> list[AttemptId]:
    return [attempt for attempt, who in story.live.items() if who == name]


def confirms_cancellations(story: Story, name: str) -> None:
    for who, word in sent_to_executors(story.asked, CancelAttempts):
        for attempt in word.attempts:
            if who == name and attempt in story.live:
                del story.live[attempt]
                story.executor_says(name, AttemptCancelled(attempt))


def asked_to_copy(story: Story, name: str) -> list[AttemptId]:
    words = sent_to_executors(story.asked, CopyBlocks)
    return [attempt for who, word in words if who == name for attempt in word.attempts]


def stopped(story: Story) -> list[str]:
    return [who for who, _ in sent_to_executors(story.asked, StopExecutor)]


def half_done(story: Story) -> list[AttemptId]:
    """Two executors have finished the maps; "b" is asked to leave. Returns what "b" holds."""
    story.joins("a", "b", slots=2).submits(*shuffle(4, 4))
    held = [attempt for attempt in story.launched(0) if story.live[attempt] == "b"]
    story.finishes_stage(0)
    story.starts(*story.launched(1)[:4])
    assert not decommission(story, "b").refused
    return held


def test_it_gets_no_new_attempts_and_those_that_run_go_on(story: Story) -> None:
    story.joins("a", "b", slots=1).submits(maps(10))
    running, waiting = on(story, "b")
    story.starts(running)

    decommission(story, "b")

    assert sent_to_executors(story.asked, CancelAttempts) == [("b", CancelAttempts((waiting,)))]
    confirms_cancellations(story, "b")
    story.succeeds(running)
    assert on(story, "b") == []
    assert stopped(story) == []


def test_its_blocks_are_moved_and_then_it_is_asked_to_go(story: Story) -> None:
    held = half_done(story)
    confirms_cancellations(story, "b")
    assert asked_to_copy(story, "a") == held
    for attempt in on(story, "b"):
        story.succeeds(attempt)
    story.time_passes(0.5)
    moved = asked_to_copy(story, "a")
    for attempt in moved:
        assert stopped(story) == []
        story.executor_says("a", BlocksCopied(attempt))
    story.time_passes(0.5)
    assert stopped(story) == [], "readers on a were told to read on b"

    for attempt in [one for one in on(story, "a") if one.number == 0]:
        story.succeeds(attempt)
    story.time_passes(0.5)

    assert set(stopped(story)) == {"b"}
    story.forgets("b")
    story.executor_says("b", ExecutorLeft("asked to stop"))
    story.finishes_stage(1)
    assert story.told_driver(JobSucceeded)
    stages = story.core.state.jobs[1].stages
    assert list(stages[0].launches) == [1, 1, 1, 1], "no finished task ran again"


def test_a_reader_with_the_old_place_only_has_old_news(story: Story) -> None:
    held = half_done(story)
    story.executor_says("a", BlocksCopied(held[0]))
    (reader, *_) = on(story, "a")

    story.fails(reader, fetch_failure(held[0], "b", FetchCause.UNREACHABLE))

    assert story.core.state.jobs[1].stages[0].complete


def test_a_driver_with_the_old_place_is_told_the_new_one(story: Story) -> None:
    story.joins("a", "b", slots=1).submits(maps(2))
    (result,) = on(story, "b")
    story.finishes_stage(0)
    decommission(story, "b")
    story.executor_says("a", BlocksCopied(result))
    story.time_passes(0.5)
    assert set(stopped(story)) == {"b"}

    failure = fetch_failure(result, "b", FetchCause.UNREACHABLE)
    for _ in range(5):
        actions = story.driver_says(ReportFetchFailed(JOB, failure))
        (told,) = sent_to_drivers(actions, JobSucceeded)
        assert [one.executor.name for one in told.outputs.executors] == ["a"]


def test_a_copy_that_fails_is_tried_elsewhere_and_given_up_in_the_end(story: Story) -> None:
    story.joins("a", "b", slots=1).submits(maps(2), complete=False)
    (result,) = on(story, "b")
    story.finishes_stage(0)
    decommission(story, "b")
    for times in (1, 2, 3):
        assert asked_to_copy(story, "a") == [result] * times
        story.executor_says("a", CopyFailed(result, "corrupt"))
    story.time_passes(0.5)

    assert set(stopped(story)) == {"b"}
    assert asked_to_copy(story, "a") == [result] * 3


def test_a_copy_that_came_too_late_is_dropped(story: Story) -> None:
    held = half_done(story)
    story.forgets("b")
    story.hangs_up("b")

    story.executor_says("a", BlocksCopied(held[0]))

    assert ("a", DropAttempts((held[0],))) in sent_to_executors(story.asked, DropAttempts)
    story.finishes_stage(0)
    story.finishes_stage(1)
    assert story.told_driver(JobSucceeded)


def test_who_fetches_may_be_lost_and_somebody_else_fetches(story: Story) -> None:
    held = half_done(story)
    story.joins("c", slots=2)
    story.forgets("a")
    story.hangs_up("a")
    story.time_passes(0.5)
    assert set(held) <= set(asked_to_copy(story, "c"))


def test_who_fetches_may_leave_too_and_takes_nothing_along(story: Story) -> None:
    story.joins("a", "b", "c", slots=1).submits(maps(3), complete=False)
    (result,) = on(story, "c")
    story.finishes_stage(0)
    decommission(story, "c")
    (fetching,) = [name for name in ("a", "b") if result in asked_to_copy(story, name)]
    other = "ab".replace(fetching, "")

    decommission(story, fetching)

    assert result in asked_to_copy(story, other)
    story.executor_says(fetching, BlocksCopied(result))
    dropped = (fetching, DropAttempts((result,)))
    assert dropped in sent_to_executors(story.asked, DropAttempts)
    for attempt in asked_to_copy(story, other):
        story.executor_says(other, BlocksCopied(attempt))
    story.time_passes(0.5)
    assert set(stopped(story)) == {fetching, "c"}
    for leaver in (fetching, "c"):
        story.forgets(leaver)
        story.executor_says(leaver, ExecutorLeft("asked to stop"))
    assert story.core.state.jobs[1].stages[0].complete, "a finished task would run again"


def test_the_last_executor_keeps_its_blocks_until_somebody_comes(story: Story) -> None:
    story.joins("a", slots=1).submits(maps(1), complete=False)
    story.finishes_stage(0)
    decommission(story, "a")
    story.time_passes(5)
    assert stopped(story) == []

    story.joins("b", slots=1)
    story.time_passes(0.5)

    assert len(asked_to_copy(story, "b")) == 1


def test_jobs_do_not_wait_for_ever_when_everybody_leaves(story: Story) -> None:
    story.joins("a", slots=1)
    decommission(story, "a")
    story.submits(maps(1))
    story.time_passes(61)
    assert story.failure().failure.kind is FailureKind.NO_EXECUTORS
    assert set(stopped(story)) == {"a"}


def test_to_ask_twice_is_to_ask_once(story: Story) -> None:
    half_done(story)
    before = story.core.state.executors.fingerprint()
    assert not decommission(story, "b").refused
    assert story.core.state.executors.fingerprint() == before
    story.forgets("b")
    story.executor_says("b", ExecutorLeft("asked to stop"))
    answer = decommission(story, "b")
    assert not answer.refused
    assert "has left" in answer.text


def test_an_executor_that_nobody_knows_is_refused_with_those_there_are(story: Story) -> None:
    story.joins("a", "b")
    answer = decommission(story, "c")
    assert answer.refused
    assert str(executor_id("a")) in answer.text
    assert str(executor_id("b")) in answer.text
    assert not decommission(story, str(executor_id("b"))).refused


def test_people_see_that_it_leaves(story: Story) -> None:
    half_done(story)
    status = {one.executor.name: one.leaving for one in story.core.state.status().executors}
    assert status["a"] == ""
    assert "2 blocks on their way" in status["b"]
