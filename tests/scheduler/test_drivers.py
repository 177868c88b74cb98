"""Words of drivers: sessions, jobs that grow, leases."""

from __future__ import annotations

import msgspec
import pytest
from flowgrid_scheduler.actions import SendToDriver
from flowgrid_scheduler.events import ExecutorUnreachable, SessionUnreachable

from flowgrid.ids import JobId
from flowgrid.protocol.failures import FailureKind
from flowgrid.protocol.job_graph import OutputKind, Slice, StageInput, StageSpec
from flowgrid.protocol.messages import (
    AddStages,
    AskStatus,
    CancelJob,
    CloseSession,
    ClusterStatus,
    DropJob,
    FromDriver,
    JobAccepted,
    JobFailed,
    JobSucceeded,
    KeepAlive,
    OpenSession,
    ReleaseJob,
    SessionOpened,
    SessionRefused,
    StageSucceeded,
    SubmitJob,
)
from tests.scheduler.story import (
    JOB,
    ROWS,
    SESSION,
    VERSIONS,
    Story,
    broadcast,
    executor_id,
    launches,
    maps,
    one_to_one,
    reduces,
    sent_to_drivers,
    sent_to_executors,
    shuffle,
)
from tests.scheduler.test_recovery import given

COVERS = ["sessions"]


def test_a_driver_is_told_how_large_the_cluster_is(story: Story) -> None:
    story.joins("a", "b", slots=3).connects()
    assert story.told_driver(SessionOpened) == [SessionOpened(epoch=1, executors=2, slots=6)]


@pytest.mark.parametrize(
    ("field", "value"),
    [("python", "3.12.1"), ("protocol", 99), ("pyarrow", "1.0"), ("duckdb", "1.0")],
)
def test_another_version_is_refused_by_both_names(story: Story, field: str, value: object) -> None:
    versions = msgspec.structs.replace(VERSIONS, **{field: value})
    story.driver_says(OpenSession(SESSION, "app", versions))
    (refused,) = story.told_driver(SessionRefused)
    ours = str(getattr(VERSIONS, field))
    assert field in refused.reason
    assert ours in refused.reason
    assert str(value)[:4] in refused.reason
    assert not story.core.state.sessions.open


def test_a_setting_that_does_not_exist_is_refused(story: Story) -> None:
    story.connects(**{"task.attempts_mx": "3"})
    assert "task.attempts_max" in story.told_driver(SessionRefused)[0].reason


def test_a_job_that_grows_ends_only_when_it_is_complete(story: Story) -> None:
    first = maps(2)
    story.joins("a").submits(first, complete=False)
    story.finishes_stage(0)
    assert not story.told_driver(JobSucceeded)
    assert story.told_driver(StageSucceeded)[0].statistics.total_rows == 2 * ROWS

    story.adds(reduces(1, first), complete=True)

    story.finishes_stage(1)
    assert story.told_driver(JobSucceeded)[0].outputs.stage == 1


def test_saying_that_a_finished_graph_is_complete_ends_the_job(story: Story) -> None:
    story.joins("a").submits(maps(2), complete=False)
    story.finishes_stage(0)
    story.adds(complete=True)
    assert len(story.told_driver(JobSucceeded)) == 1


def test_a_stage_that_is_added_gets_lost_inputs_recomputed(story: Story) -> None:
    first = maps(2)
    story.joins("a", "b").submits(first, complete=False)
    story.finishes_stage(0)
    story.forgets("b")
    assert not launches(story.happens(ExecutorUnreachable(executor_id("b"))))

    actions = story.adds(broadcast(1, first), complete=True)

    assert [(a.stage, a.number) for a in launches(actions)] == [(0, 1)]
    story.finishes_stage(0)
    story.finishes_stage(1)
    assert len(story.told_driver(JobSucceeded)) == 1


def test_a_given_stage_is_never_run(story: Story) -> None:
    table = given(2)
    story.joins("a")
    actions = story.submits(table, reduces(1, table))
    (succeeded,) = sent_to_drivers(actions, StageSucceeded)
    assert succeeded.statistics.rows == (14,)
    assert [attempt.stage for attempt in launches(actions)] == [1]
    story.succeeds(*story.launched(1), rows_read=(14,))
    assert story.told_driver(JobSucceeded)


def test_stages_without_tasks_succeed_at_once(story: Story) -> None:
    first = maps(0)
    story.joins("a").submits(first, one_to_one(first))
    assert story.told_driver(JobSucceeded)[0].outputs.attempts == ()


def test_a_submission_that_comes_twice_is_one_job(story: Story) -> None:
    story.joins("a").connects()
    submit = SubmitJob(7, "query", (maps(1),), True)
    story.driver_says(submit)
    actions = story.driver_says(submit)
    assert actions == [SendToDriver(SESSION, JobAccepted(7, JOB))]
    assert len(story.core.state.jobs) == 1


BAD_GRAPHS = [
    (maps(1, number=1),),
    (StageSpec(0, "reads itself", 1, OutputKind.BLOCKS, inputs=(StageInput(0),)),),
    (maps(1), StageSpec(1, "few", 2, OutputKind.BLOCKS, inputs=(StageInput(0, ()),))),
    (
        maps(1),
        StageSpec(1, "wide", 1, OutputKind.BLOCKS, inputs=(StageInput(0, (Slice(0, 2, 0, 1),)),)),
    ),
    (maps(-1),),
    (maps(1 << 30, targets=1 << 30),),
    (msgspec.structs.replace(given(1), given_rows=((-1,),)),),
    (msgspec.structs.replace(given(1), given_rows=((1 << 63,),)),),
    (StageSpec(0, "sink", 1, OutputKind.FILES), broadcast(1, maps(1))),
    (StageSpec(0, "tasks", 3, OutputKind.BLOCKS, tasks=(b"",)),),
    (),
]


@pytest.mark.parametrize("stages", BAD_GRAPHS)
def test_what_is_no_job_graph_fails_by_name(story: Story, stages: tuple[StageSpec, ...]) -> None:
    story.joins("a").submits(*stages)
    assert "invalid job graph" in story.failure().failure.message


def test_cancelling_frees_everything_and_says_so(story: Story) -> None:
    story.joins("a").submits(maps(4))
    actions = story.driver_says(CancelJob(JOB, "Ctrl-C"))
    assert sent_to_executors(actions, DropJob) == [("a", DropJob(JOB))]
    assert sent_to_drivers(actions, JobFailed)[0].failure.kind is FailureKind.CANCELLED
    assert not story.core.state.jobs


def test_releasing_a_job_drops_its_blocks(story: Story) -> None:
    story.joins("a").submits(maps(2))
    story.finishes_stage(0)
    actions = story.driver_says(ReleaseJob(JOB))
    assert sent_to_executors(actions, DropJob) == [("a", DropJob(JOB))]


@pytest.mark.parametrize("how", ["closed", "silent", "gap", "unreachable"])
def test_a_driver_that_is_gone_takes_its_jobs_along(story: Story, how: str) -> None:
    story.joins("a").submits(maps(4))
    if how == "closed":
        actions = story.driver_says(CloseSession())
    elif how == "gap":
        story._next(SESSION)
        actions = story.driver_says(KeepAlive())
    elif how == "unreachable":
        actions = story.happens(SessionUnreachable(SESSION))
    else:
        lease_s = story.config.scheduler_driver_lease_s
        assert not sent_to_executors(story.time_passes(lease_s - 1, driver_alive=False), DropJob)
        actions = story.time_passes(2, driver_alive=False)
    assert sent_to_executors(actions, DropJob) == [("a", DropJob(JOB))]
    assert not story.core.state.jobs
    assert not story.core.state.sessions.open


def test_a_driver_that_is_not_known_any_more_is_told(story: Story) -> None:
    story.connects()
    story.happens(SessionUnreachable(SESSION))
    actions = story.driver_says(KeepAlive())
    assert len(sent_to_drivers(actions, SessionRefused)) == 1
    reopened = story.driver_says(OpenSession(SESSION, "app", VERSIONS))
    assert len(sent_to_drivers(reopened, SessionRefused)) == 1


def test_nobody_reaches_into_the_jobs_of_another(story: Story) -> None:
    other = "e" * 32
    story.joins("a").submits(maps(4))
    story.connects(other)
    for word in (CancelJob(JOB, "mine"), ReleaseJob(JOB), AddStages(JOB, (), True)):
        assert story.driver_says(word, session=other) == []
    assert JOB.number in story.core.state.jobs


def test_jobs_take_turns(story: Story) -> None:
    story.submits(maps(10))
    story.submits(maps(10), session="e" * 32)
    story.joins("a", slots=4)
    assert {len(story.launched(0, job=1)), len(story.launched(0, job=2))} == {4}


def test_anybody_may_ask_how_things_are(story: Story) -> None:
    story.joins("a").submits(maps(3))
    (status,) = sent_to_drivers(story.driver_says(AskStatus(), session="observer"), ClusterStatus)
    assert status.executors[0].slots == 2
    (stage,) = status.jobs[0].stages
    assert (stage.state, stage.tasks, stage.attempts) == ("running", 3, 3)


WORDS: list[FromDriver] = [
    OpenSession(SESSION, "app", VERSIONS),
    SubmitJob(0, "query", (maps(3),), True),
    AddStages(JOB, shuffle(3, 1)[1:], True),
    CancelJob(JobId(1), "why not"),
    ReleaseJob(JobId(1)),
    KeepAlive(),
    CloseSession(),
    AskStatus(),
]


@pytest.mark.parametrize("word", WORDS, ids=lambda word: type(word).__name__)
def test_every_word_of_a_driver_may_come_twice(story: Story, word: FromDriver) -> None:
    story.joins("a").submits(maps(3), complete=False)
    story.driver_says(word)
    once = [job.fingerprint() for job in story.core.state.jobs.values()]
    story.driver_says(word)
    assert [job.fingerprint() for job in story.core.state.jobs.values()] == once
