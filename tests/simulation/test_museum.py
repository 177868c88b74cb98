"""Bugs of Dask, Ray, Ballista and Daft, told to our cores: each cost somebody rows, a hang or a job.

The number in a name is that of the issue; Spark's are in `test_museum_spark.py`.
"""

from __future__ import annotations

import msgspec
import pytest
from flowgrid_executor.events import Send
from flowgrid_scheduler.actions import Action
from flowgrid_scheduler.events import ExecutorUnreachable

from flowgrid.config import Config
from flowgrid.ids import AttemptId
from flowgrid.protocol.failures import Failure, FailureKind, FetchCause
from flowgrid.protocol.messages import (
    AttemptCancelled,
    AttemptFailed,
    CancelAttempts,
    ExecutorLeft,
    JobAccepted,
    JobSucceeded,
    LaunchAttempts,
    SubmitJob,
)
from tests.executor.core_story import Story as ExecutorStory
from tests.executor.core_story import attempt as executor_attempt
from tests.executor.core_story import runs
from tests.scheduler.story import (
    ROWS,
    Story,
    executor_id,
    fetch_failure,
    launches,
    maps,
    sent_to_executors,
    shuffle,
)


def is_lost(story: Story, name: str) -> list[Action]:
    """Its connection is closed."""
    story.forgets(name)
    return story.happens(ExecutorUnreachable(executor_id(name)))


# -- cancelling, stealing, leaving ---------------------------------------------------------------------


def stolen(story: Story) -> AttemptId:
    """An attempt that was taken back from a backlog, and whose task succeeds elsewhere."""
    story.joins("a", slots=1).submits(maps(2))
    running, waiting = story.launched(0)
    story.starts(running)
    story.joins("b", slots=1)
    story.time_passes(0.25)
    assert sent_to_executors(story.asked, CancelAttempts) == [("a", CancelAttempts((waiting,)))]
    story.live.pop(waiting)
    story.executor_says("a", AttemptCancelled(waiting))
    (copy,) = [a for a, name in story.live.items() if name == "b"]
    story.succeeds(copy)
    return waiting


def test_dask_6689_a_flaky_task_that_fails_after_its_stolen_copy_succeeded(story: Story) -> None:
    old = stolen(story)
    before = story.core.state.jobs[1].fingerprint()

    story.executor_says("a", AttemptFailed(old, Failure(FailureKind.USER_ERROR, "flaky")))

    assert story.core.state.jobs[1].fingerprint() == before
    story.finishes_stage(0)
    assert story.told_driver(JobSucceeded)


def test_dask_6159_a_task_that_was_cancelled_can_be_computed_again() -> None:
    story = ExecutorStory(slots_ready=1)
    story.launches(0, 1)

    cancelled = story.happens(CancelAttempts((executor_attempt(1),)))
    story.happens(LaunchAttempts((executor_attempt(1, number=1),)))
    actions = story.answers(slot=0, partition=0)

    assert cancelled == [Send(AttemptCancelled(executor_attempt(1)))]
    assert runs(actions) == [(0, executor_attempt(1, number=1))]


def test_dask_6244_a_block_of_a_leaving_executor_is_made_again_once(story: Story) -> None:
    story.joins("a", "b").submits(*shuffle(2, 2))
    (on_b,) = [a for a in story.launched(0) if story.live[a] == "b"]
    story.finishes_stage(0)
    (reader, *_) = [a for a in story.launched(1) if story.live[a] == "a"]
    story.forgets("b")
    story.executor_says("b", ExecutorLeft("retiring"))

    story.fails(reader, fetch_failure(on_b, "b", FetchCause.UNREACHABLE))

    assert story.core.state.jobs[1].stages[0].launches[on_b.partition] == 2
    story.finishes_stage(0)
    story.finishes_stage(1)
    assert story.told_driver(JobSucceeded)


def test_dask_6263_no_task_is_stuck_on_an_executor_that_closed(story: Story) -> None:
    story.joins("a", "b", slots=1).submits(maps(4))
    held = [a for a in story.live if story.live[a] == "b"]
    story.forgets("b")

    story.executor_says("b", ExecutorLeft("closed"))

    assert held
    story.finishes_stage(0)
    assert story.told_driver(JobSucceeded)


def test_dask_8426_rows_that_are_missing_after_a_shuffle_are_missed(story: Story) -> None:
    story.joins("a").submits(*shuffle(3, 1))
    story.finishes_stage(0)
    (reader,) = story.launched(1)

    story.succeeds(reader, rows_read=(3 * ROWS - 1,))

    assert not story.told_driver(JobSucceeded)
    story.finishes_stage(1)
    assert story.told_driver(JobSucceeded)


def test_dask_8595_one_silent_peer_at_a_barrier_fails_no_job(story: Story) -> None:
    story.joins("a", "b").submits(*shuffle(4, 2))
    story.succeeds(*[a for a in story.launched(0) if story.live[a] == "a"])
    story.falls_silent("b")
    story.time_passes(story.config.executor_heartbeat_timeout_s + 1)
    story.live = {a: name for a, name in story.live.items() if name != "b"}

    story.finishes_stage(0)
    story.finishes_stage(1)

    assert story.told_driver(JobSucceeded)


# -- requests, dependencies, ends ----------------------------------------------------------------------


def test_ray_worker_lease_a_retry_while_the_first_is_in_progress_grants_nothing_twice(
    story: Story,
) -> None:
    story.connects().joins("a")
    submit = SubmitJob(7, "query", (maps(2),), True)

    story.driver_says(submit)
    actions = story.driver_says(submit)  # the answer was lost

    assert not launches(actions)
    assert {word.job.number for word in story.told_driver(JobAccepted)} == {1}
    assert len(story.core.state.jobs) == 1


def test_ray_47606_a_dependency_that_fails_leaves_nobody_waiting(story: Story) -> None:
    story.joins("a").submits(*shuffle(2, 2))

    story.fails(story.launched(0)[0], FailureKind.QUERY_ERROR)

    assert story.failure().failure.kind is FailureKind.QUERY_ERROR
    assert not story.core.state.jobs
    assert not story.core.state.rotation
    assert not next(iter(story.core.state.executors.alive.values())).attempts


@pytest.mark.parametrize("cause", FetchCause)
def test_ballista_2027_a_failed_fetch_stays_one_on_its_way(story: Story, cause: FetchCause) -> None:
    story.joins("a", "b").submits(*shuffle(1, 1))
    story.finishes_stage(0)
    (reader,) = story.launched(1)

    actions = story.fails(reader, fetch_failure(AttemptId(1, 0, 0, 0), "a", cause))

    assert launches(actions) == [AttemptId(1, 0, 0, 1)], "the producer runs again, not the reader"


@pytest.mark.parametrize("how", ["closed", "left", "silent"])
def test_ballista_2029_the_last_executor_lost_is_a_named_end_on_every_path(
    story: Story, how: str
) -> None:
    story.joins("a").submits(maps(1))
    if how == "closed":
        is_lost(story, "a")
    elif how == "left":
        story.forgets("a")
        story.executor_says("a", ExecutorLeft("scaled down"))
    else:
        story.falls_silent("a")
        story.time_passes(story.config.executor_heartbeat_timeout_s + 1)
    story.time_passes(story.config.scheduler_no_executors_grace_s + 1)
    assert story.failure().failure.kind is FailureKind.NO_EXECUTORS


def test_ballista_scenario_d_the_end_of_a_stale_attempt_is_no_failure() -> None:
    story = Story(msgspec.structs.replace(Config(), task_attempts_max=1, task_process_deaths_max=1))
    old = stolen(story)

    story.executor_says("a", AttemptFailed(old, Failure(FailureKind.PROCESS_DIED, "was killed")))

    story.finishes_stage(0)
    assert story.told_driver(JobSucceeded)


def test_daft_7099_one_dies_in_the_moment_in_which_another_joins(story: Story) -> None:
    story.joins("a", "b").submits(*shuffle(4, 2))
    story.succeeds(story.launched(0)[0])

    is_lost(story, "b")
    story.joins("c")
    is_lost(story, "a")

    story.finishes_stage(0)
    story.finishes_stage(1)
    (succeeded,) = story.told_driver(JobSucceeded)
    assert {holder.executor for holder in succeeded.outputs.executors} == {executor_id("c")}
