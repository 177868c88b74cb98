"""Executors that fail what others can do are left alone for a while."""

from __future__ import annotations

from flowgrid_scheduler.stages import TaskState

from flowgrid.config import Config
from flowgrid.ids import AttemptId
from flowgrid.protocol.departures import BlocksCorrupt, ExecutorExcluded, ExecutorReadmitted
from flowgrid.protocol.failures import Failure, FailureKind, FetchCause
from flowgrid.protocol.messages import (
    AttemptCancelled,
    CancelAttempts,
    Heartbeat,
    JobSucceeded,
    ReportFetchFailed,
)
from tests.scheduler.story import (
    JOB,
    Story,
    executor_id,
    fetch_failure,
    maps,
    one_to_one,
    sent_to_executors,
    shuffle,
)

COVERS = ["suspicions"]


def excluded(story: Story) -> list[str]:
    alive = story.core.state.executors.alive.values()
    return [executor.id.name for executor in alive if executor.excluded]


def on(story: Story, name: str) -> list[AttemptId]:
    return [attempt for attempt, who in story.live.items() if who == name]


def stops_all(story: Story, attempts: list[AttemptId]) -> None:
    """They were cancelled, and their executors say so."""
    for attempt in attempts:
        story.executor_says(story.live.pop(attempt), AttemptCancelled(attempt))


def kills_its_slots(story: Story, name: str, times: int) -> None:
    """So many tasks kill their slot on one executor and succeed on another."""
    for _ in range(times):
        victim = on(story, name)[0]
        story.fails(victim, FailureKind.PROCESS_DIED)
        states = story.core.state.jobs[1].stages[0].states
        while states[victim.partition] != TaskState.SUCCEEDED:
            story.succeeds(next(a for a, who in story.live.items() if who != name))


def test_who_fails_what_others_can_do_gets_no_new_attempts_and_the_driver_hears_why(
    story: Story,
) -> None:
    story.joins("a", "b", slots=1).submits(maps(20))

    kills_its_slots(story, "b", times=3)

    assert excluded(story) == ["b"]
    (word,) = story.told_driver(ExecutorExcluded)
    assert word.executor == executor_id("b")
    assert "process_died" in word.reason
    (status,) = [one for one in story.core.state.status().executors if one.executor.name == "b"]
    assert status.excluded == word.reason
    waiting = on(story, "b")
    assert sent_to_executors(story.asked, CancelAttempts) == [("b", CancelAttempts(tuple(waiting)))]
    stops_all(story, waiting)
    assert on(story, "b") == []
    story.finishes_stage(0)
    assert story.told_driver(JobSucceeded)


def test_a_function_that_kills_every_process_speaks_against_nobody(story: Story) -> None:
    story.joins("a", "b", slots=4).submits(maps(20))
    for attempt in [*on(story, "a")[:2], *on(story, "b")[:2]]:
        story.fails(attempt, FailureKind.PROCESS_DIED)
    assert excluded(story) == []
    assert all(not one.evidence for one in story.core.state.executors.alive.values())


def test_what_is_not_the_executors_fault_is_not_held_against_it(story: Story) -> None:
    story.joins("a", "b", slots=4).submits(maps(20))
    for attempt in on(story, "b")[:4]:
        story.fails(attempt, FailureKind.USER_ERROR)
    story.finishes_stage(0)
    assert all(not one.evidence for one in story.core.state.executors.alive.values())


def test_blocks_that_are_not_there_speak_against_their_holder_at_once(story: Story) -> None:
    story.joins("a", "b", slots=4).submits(*shuffle(8, 8))
    held = [attempt for attempt in story.launched(0) if story.live[attempt] == "b"]
    story.finishes_stage(0)
    readers = [attempt for attempt in story.launched(1) if story.live[attempt] == "a"]

    for reader, producer in zip(readers[:3], held[:3], strict=True):
        assert excluded(story) == []
        story.fails(reader, fetch_failure(producer, "b"))

    assert excluded(story) == ["b"]


def test_one_broken_link_excludes_neither_of_its_ends(story: Story) -> None:
    story.joins("a", "b", slots=2).submits(*shuffle(6, 2))
    ours = [attempt for attempt in story.launched(0) if story.live[attempt] == "a"]
    story.finishes_stage(0)
    for producer in ours[:3]:
        readers = [attempt for attempt in story.launched(1) if story.live[attempt] == "b"]
        if readers:
            story.fails(readers[0], fetch_failure(producer, "a", FetchCause.UNREACHABLE))
            story.finishes_stage(0)
    assert excluded(story) == []


def test_the_last_executor_is_never_excluded_and_the_least_suspect_is_taken_back(
    story: Story,
) -> None:
    story.joins("a", "b", slots=1).submits(maps(30))
    kills_its_slots(story, "b", times=3)
    stops_all(story, on(story, "b"))

    story.forgets("a")
    story.hangs_up("a")

    assert excluded(story) == []
    assert story.told_driver(ExecutorReadmitted)
    assert on(story, "b"), "a job must not wait for nobody"


def test_an_exclusion_ends_and_what_was_known_is_forgotten() -> None:
    story = Story(Config.parse({"exclusion.duration_s": "2"})).joins("a", "b", slots=1)
    story.submits(maps(30))
    kills_its_slots(story, "b", times=3)
    assert excluded(story) == ["b"]

    story.time_passes(2.5)

    assert excluded(story) == []
    (b,) = [one for one in story.core.state.executors.alive.values() if one.id.name == "b"]
    assert b.evidence == {}


def test_it_can_be_switched_off() -> None:
    story = Story(Config.parse({"exclusion.failures_max": "0"})).joins("a", "b", slots=1)
    story.submits(maps(30))
    kills_its_slots(story, "b", times=5)
    assert excluded(story) == []


def out_of_reach(producer: AttemptId, holder: str) -> Failure:
    return fetch_failure(producer, holder, FetchCause.UNREACHABLE)


def won_by(story: Story, name: str, stage: int = 0) -> list[AttemptId]:
    """The winners whose blocks an executor holds."""
    (index,) = [e.index for e in story.core.state.executors.alive.values() if e.id.name == name]
    held = story.core.state.jobs[1].stages[stage]
    return [held.attempt_of(p, held.blocks.attempts[p]) for p in held.held_by(index)]


def test_a_holder_out_of_reach_costs_one_attempt_and_not_one_for_each_of_its_blocks(
    story: Story,
) -> None:
    story.joins("a", "b", slots=6).submits(*shuffle(12, 2))
    story.finishes_stage(0)
    behind = won_by(story, "a")
    assert len(behind) == 6

    reader = next(attempt for attempt in story.launched(1) if story.live[attempt] == "b")
    story.fails(reader, out_of_reach(behind[0], "a"))

    again = story.launched(0)
    assert {attempt.task for attempt in again} == {winner.task for winner in behind}
    assert {story.live[attempt] for attempt in again} == {"b"}
    stops_all(story, on(story, "a"))
    story.finishes_stage(0)
    assert {story.live[attempt] for attempt in story.launched(1)} == {"b"}
    story.finishes_stage(1)
    assert len(story.told_driver(JobSucceeded)) == 1


def test_who_is_out_of_reach_of_the_driver_is_given_up_down_to_the_first_stage(
    story: Story,
) -> None:
    first = maps(4)
    second = one_to_one(first)
    story.joins("a", "b", slots=2).submits(first, second, one_to_one(second, number=2))
    for stage in range(3):
        story.finishes_stage(stage)
    (result, *_) = won_by(story, "a", stage=2)

    story.driver_says(ReportFetchFailed(JOB, out_of_reach(result, "a")))
    for stage in range(3):
        assert {story.live[attempt] for attempt in story.launched(stage)} == {"b"}
        story.finishes_stage(stage)

    assert len(story.told_driver(JobSucceeded)) == 2
    assert not any(won_by(story, "a", stage) for stage in range(3))


def test_what_runs_on_who_is_given_up_runs_elsewhere_and_other_jobs_go_on(story: Story) -> None:
    story.joins("a", "b", slots=2).submits(*shuffle(4, 3))
    story.finishes_stage(0)
    story.submits(maps(1))
    (reader, *_) = [a for a in story.launched(1) if story.live[a] == "b"]
    beside = [a for a in story.launched(1) if story.live[a] == "a"]
    story.starts(*beside)

    actions = story.fails(reader, out_of_reach(won_by(story, "a")[0], "a"))

    cancelled = [word for _, word in sent_to_executors(actions, CancelAttempts)]
    assert [word.attempts for word in cancelled] == [(attempt,) for attempt in beside]
    stops_all(story, beside)
    story.finishes_stage(0, job=2)
    story.finishes_stage(0)
    story.finishes_stage(1)
    assert len(story.told_driver(JobSucceeded)) == 2


def test_not_more_than_every_second_executor_is_given_up(story: Story) -> None:
    story.joins("a", "b", "c", slots=2).submits(*shuffle(6, 6))
    story.finishes_stage(0)
    for holder, behind in (("a", 2), ("b", 1)):
        before = len(story.launched(0))
        reader = next(one for one in story.launched(1) if story.live[one] == "c")
        story.fails(reader, out_of_reach(won_by(story, holder)[0], holder))
        lost = story.core.state.jobs[1].stages[0].states.count(TaskState.PENDING)
        assert lost + len(story.launched(0)) - before == behind
    assert set(story.core.state.jobs[1].given_up) == {0}, "two of three are no holder's fault"


def test_who_was_given_up_gets_work_again_when_there_is_nobody_else(story: Story) -> None:
    story.joins("a", "b", slots=2).submits(*shuffle(4, 2))
    story.finishes_stage(0)
    reader = next(one for one in story.launched(1) if story.live[one] == "b")
    story.fails(reader, out_of_reach(won_by(story, "a")[0], "a"))

    story.forgets("b")
    story.hangs_up("b")

    assert on(story, "a"), "a job must not wait for nobody"


def test_who_was_given_up_is_tried_again_after_a_while() -> None:
    story = Story(Config.parse({"exclusion.duration_s": "2"})).joins("a", "b", slots=1)
    story.submits(*shuffle(2, 8))
    story.finishes_stage(0)
    reader = next(one for one in story.launched(1) if story.live[one] == "b")
    story.fails(reader, out_of_reach(won_by(story, "a")[0], "a"))
    stops_all(story, on(story, "a"))
    story.finishes_stage(0)
    assert not on(story, "a")

    story.time_passes(2.5)

    assert on(story, "a")


def test_who_had_too_little_memory_is_no_suspect(story: Story) -> None:
    story.joins("a", "b", slots=1).submits(maps(1))
    (attempt,) = story.launched(0)

    story.fails(attempt, FailureKind.OUT_OF_MEMORY)

    assert not story.core.state.suspicions
    assert story.failure().failure.kind is FailureKind.OUT_OF_MEMORY


def test_what_an_executor_says_of_its_bad_disks_is_shown_to_who_asks(story: Story) -> None:
    story.joins("a", "b")
    bad = ("/mnt/b: Input/output error",)

    story.happens(Heartbeat(executor_id("b"), 0, 0, excluded_directories=bad))

    shown = {one.executor.name: one for one in story.core.state.status().executors}
    assert shown["b"].excluded_directories == bad
    assert not shown["b"].excluded, "it works on with its other disks"
    assert shown["a"].excluded_directories == ()


def test_who_holds_a_corrupt_block_is_told_once_and_may_blame_a_disk(story: Story) -> None:
    story.joins("a", "b", slots=4).submits(*shuffle(2, 4))
    held = next(attempt for attempt in story.launched(0) if story.live[attempt] == "b")
    story.finishes_stage(0)
    first, second = story.launched(1)[:2]

    told = [
        sent_to_executors(story.fails(reader, fetch_failure(held, "b", cause)), BlocksCorrupt)
        for reader, cause in ((first, FetchCause.CORRUPT), (second, FetchCause.CORRUPT))
    ]

    assert told == [[("b", BlocksCorrupt(held))], []]
