"""Jobs of killed drivers whose programs are run again."""

from __future__ import annotations

import msgspec
import pytest
from flowgrid_scheduler.events import ExecutorUnreachable, SessionUnreachable
from flowgrid_scheduler.invariants import check
from flowgrid_scheduler.jobs import JobState
from flowgrid_scheduler.roll_call import may_go_on
from flowgrid_scheduler.snapshots import snapshot
from flowgrid_scheduler.waiting import why

from flowgrid.config import Config
from flowgrid.ids import JobId
from flowgrid.protocol.job_graph import OutputKind, StageSpec
from flowgrid.protocol.messages import (
    AddStages,
    AttemptSucceeded,
    CloseSession,
    DescribeStage,
    DropAttempts,
    DropJob,
    JobAccepted,
    JobSucceeded,
    KeepAlive,
    ReleaseJob,
    SessionRefused,
    StageSucceeded,
)
from flowgrid.protocol.reports import HeldAttempt
from tests.scheduler.story import (
    JOB,
    SESSION,
    Story,
    executor_id,
    launches,
    maps,
    reduces,
    sent_to_drivers,
    sent_to_executors,
    shuffle,
)
from tests.scheduler.test_recovery import given
from tests.scheduler.test_snapshots import next_scheduler

NEXT = "e" * 32
"""The session of the next run."""


def identified(*specs: StageSpec, program: str = "nightly") -> tuple[StageSpec, ...]:
    """The stages of a program, each with its identity."""
    return tuple(
        msgspec.structs.replace(spec, identity=f"{program}/{spec.number}/{spec.label}".encode())
        for spec in specs
    )


def sink(upstream: StageSpec, staging: bytes) -> StageSpec:
    """A stage that writes files; its identity is made without its staging place."""
    (spec,) = identified(reduces(2, upstream))
    return msgspec.structs.replace(spec, output=OutputKind.FILES, payload=staging)


@pytest.fixture
def running(story: Story) -> Story:
    """A resumable program with two executors."""
    return story.joins("a", "b").connects(**{"resume.name": "nightly"})


def dies(story: Story) -> None:
    story.happens(SessionUnreachable(SESSION))


def comes_back(story: Story, **conf: str) -> None:
    story.connects(NEXT, **({"resume.name": "nightly"} | conf))


def states(story: Story) -> list[JobState]:
    return [job.state for job in story.core.state.jobs.values()]


def test_without_a_resume_name_nothing_is_kept(story: Story) -> None:
    story.joins("a").submits(*identified(*shuffle(2, 2)))
    story.finishes_stage(0)
    actions = story.happens(SessionUnreachable(SESSION))
    assert sent_to_executors(actions, DropJob)
    assert not story.core.state.jobs


def test_finished_stages_of_a_killed_driver_are_not_run_again(running: Story) -> None:
    stages = identified(*shuffle(2, 2))
    running.submits(*stages)
    running.finishes_stage(0)
    dies(running)
    assert states(running) == [JobState.KEPT]
    comes_back(running)

    actions = running.submits(*stages, session=NEXT)

    assert sent_to_drivers(actions, JobAccepted)[0].job == JOB
    assert sent_to_drivers(actions, StageSucceeded)[0].stage.number == 0
    assert {attempt.stage for attempt in running.live} == {1}
    assert not running.core.state.sessions.lost
    for attempt in [a for a in running.live if a.number == 0]:
        del running.live[attempt]  # cancelled with their driver
    running.finishes_stage(1)
    assert running.told_driver(JobSucceeded)


def test_what_ran_when_the_driver_died_is_stopped_and_its_late_blocks_are_dropped(
    running: Story,
) -> None:
    running.submits(*identified(maps(2)))
    late, _ = running.launched(0)
    running.starts(late)
    report = running.report(late)
    dies(running)
    actions = running.executor_says(running.live[late], AttemptSucceeded(late, report))
    assert sent_to_executors(actions, DropAttempts) == [(running.live[late], DropAttempts((late,)))]
    assert states(running) == [JobState.KEPT]


def test_an_answer_that_was_there_is_told_at_once(running: Story) -> None:
    stages = identified(maps(2))
    running.submits(*stages)
    running.finishes_stage(0)
    dies(running)
    comes_back(running)
    actions = running.submits(*stages, session=NEXT)
    assert not launches(actions)
    assert sent_to_drivers(actions, JobSucceeded)


def test_an_answer_is_not_told_before_the_driver_has_submitted_all_its_stages(
    running: Story,
) -> None:
    first, second = identified(*shuffle(2, 2))
    running.submits(first, second)
    running.finishes_stage(0)
    running.finishes_stage(1)
    dies(running)
    comes_back(running)
    actions = running.submits(first, complete=False, session=NEXT)
    assert sent_to_drivers(actions, StageSucceeded)
    assert not sent_to_drivers(actions, JobSucceeded)

    actions = running.driver_says(AddStages(JOB, (second,), True), session=NEXT)
    assert sent_to_drivers(actions, JobSucceeded)
    assert not launches(actions)


def test_a_stage_that_is_another_than_before_replaces_it(running: Story) -> None:
    first, second = identified(*shuffle(2, 2))
    running.submits(first, second)
    running.finishes_stage(0)
    running.finishes_stage(1)
    dies(running)
    comes_back(running)
    running.submits(first, complete=False, session=NEXT)
    (other,) = identified(maps(3, number=1), program="changed")
    actions = running.driver_says(AddStages(JOB, (other,), True), session=NEXT)
    assert sorted(a.partition for a in launches(actions)) == [0, 1, 2]
    assert {(a.stage, a.number) for a in launches(actions)} == {(1, 1)}
    dropped = [a for _, word in sent_to_executors(actions, DropAttempts) for a in word.attempts]
    assert {(a.stage, a.number) for a in dropped} == {(1, 0)}
    assert not sent_to_drivers(actions, JobSucceeded)
    running.finishes_stage(1)
    assert running.told_driver(JobSucceeded)[-1].outputs.attempts == (1, 1, 1)


def test_a_graph_that_ends_earlier_than_before_has_its_own_result(running: Story) -> None:
    first, second = identified(*shuffle(2, 2))
    running.submits(first, second)
    running.finishes_stage(0)
    dies(running)
    comes_back(running)
    running.submits(first, complete=False, session=NEXT)
    actions = running.driver_says(AddStages(JOB, (), True), session=NEXT)
    assert sent_to_drivers(actions, JobSucceeded)[0].outputs.stage == 0


def test_a_table_of_the_drivers_alone_takes_nothing_over(running: Story) -> None:
    (table,) = identified(given(2))
    running.submits(table, *identified(reduces(1, given(2)), program="one"))
    dies(running)
    comes_back(running)
    running.submits(table, *identified(reduces(1, given(2)), program="other"), session=NEXT)
    assert list(running.core.state.jobs) == [1, 2]


def test_after_the_schedulers_death_too_an_attempt_of_a_replaced_stage_is_not_believed(
    running: Story,
) -> None:
    (first,) = identified(maps(2, targets=2))
    running.submits(first, sink(first, b"old"))
    running.finishes_stage(0)
    old = running.launched(1)[0]
    dies(running)
    comes_back(running)
    running.submits(first, sink(first, b"new"), session=NEXT)
    job = next_scheduler(snapshot(running.core.state), running.config).state.jobs[1]
    reads = tuple(
        job.stages[0].blocks.attempts_in(edge.slices[old.partition])
        for edge in job.stages[1].spec.inputs
        if edge.slices is not None
    )
    claim = HeldAttempt(old, reads, None)
    assert not may_go_on(job, job.stages[1], claim)
    ours = msgspec.structs.replace(old, number=1)
    assert may_go_on(job, job.stages[1], msgspec.structs.replace(claim, attempt=ours))


@pytest.mark.parametrize(
    ("program", "conf"),
    [
        ("changed", {}),
        ("nightly", {"resume.name": "another"}),
        ("nightly", {"kernel.batch_rows": "7"}),
    ],
)
def test_another_program_name_or_setting_gets_nothing(
    running: Story, program: str, conf: dict[str, str]
) -> None:
    running.submits(*identified(maps(2)))
    running.finishes_stage(0)
    dies(running)
    comes_back(running, **conf)
    running.submits(*identified(maps(2), program=program), session=NEXT)
    assert [job.id.number for job in running.core.state.jobs.values()] == [1, 2]
    assert len(running.launched(0, job=2)) == 2


def test_stages_without_identity_are_like_no_others(running: Story) -> None:
    running.submits(maps(2))
    running.finishes_stage(0)
    dies(running)
    comes_back(running)
    running.submits(maps(2), session=NEXT)
    assert len(running.launched(0, job=2)) == 2


def test_a_sink_writes_anew_to_the_new_staging_place(running: Story) -> None:
    (first,) = identified(maps(2, targets=2))
    running.submits(first, sink(first, b"old"))
    running.finishes_stage(0)
    running.finishes_stage(1)
    assert running.told_driver(JobSucceeded)
    dies(running)
    comes_back(running)
    actions = running.submits(first, sink(first, b"new"), session=NEXT)
    assert {(a.stage, a.number) for a in launches(actions)} == {(1, 1)}
    described = [word.spec.payload for _, word in sent_to_executors(actions, DescribeStage)]
    assert set(described) == {b"new"}


def test_a_table_of_the_driver_is_read_from_the_new_driver(running: Story) -> None:
    table, reader = identified(given(2), reduces(1, given(2)))
    running.submits(table, reader)
    running.live.clear()
    dies(running)
    comes_back(running)
    assert table.given is not None
    outputs = msgspec.structs.replace(table.given, attempts=(5, 6))
    running.submits(msgspec.structs.replace(table, given=outputs), reader, session=NEXT)
    (stage, _) = running.core.state.jobs[1].stages
    assert list(stage.blocks.attempts) == [5, 6]


def test_blocks_that_are_lost_while_nobody_is_there_are_made_again(running: Story) -> None:
    stages = identified(maps(2))
    running.submits(*stages)
    held = {attempt.partition: who for attempt, who in running.live.items()}
    running.finishes_stage(0)
    dies(running)
    running.forgets("b")
    running.happens(ExecutorUnreachable(executor_id("b")))
    comes_back(running)
    actions = running.submits(*stages, session=NEXT)
    assert {a.partition for a in launches(actions)} == {p for p, who in held.items() if who == "b"}


def test_what_was_released_is_kept_until_the_session_ends(running: Story) -> None:
    running.submits(*identified(maps(2)))
    running.finishes_stage(0)
    running.driver_says(ReleaseJob(JOB))
    assert states(running) == [JobState.KEPT]
    assert why(running.core.state, JOB)
    running.driver_says(CloseSession())
    assert not running.core.state.jobs
    assert not running.core.state.sessions.numbered


def test_a_run_that_comes_to_its_end_forgets_the_earlier_ones(running: Story) -> None:
    running.submits(*identified(maps(2)))
    dies(running)
    comes_back(running)
    running.driver_says(CloseSession(), session=NEXT)
    assert not running.core.state.jobs
    assert not running.core.state.sessions.numbered


def test_what_is_kept_for_too_long_is_forgotten(running: Story) -> None:
    running.submits(*identified(maps(2)))
    running.finishes_stage(0)
    dies(running)
    keep_s = Config().resume_keep_s
    running.time_passes(keep_s - 5)
    assert states(running) == [JobState.KEPT]
    (wait,) = why(running.core.state, JOB)
    assert wait.deadline_s is not None
    assert wait.deadline_s <= 6
    running.time_passes(10)
    assert not running.core.state.jobs
    assert not running.core.state.sessions.numbered


def test_when_there_is_no_room_the_oldest_job_goes_first() -> None:
    story = Story(Config(resume_keep_bytes=500))
    story.joins("a", slots=4).connects(**{"resume.name": "nightly"})
    for number in (1, 2, 3):
        story.submits(*identified(maps(3), program=str(number)))
        story.finishes_stage(0, job=number)
        story.driver_says(ReleaseJob(JobId(number)))
    assert list(story.core.state.jobs) == [2, 3]


def test_a_driver_that_was_only_silent_is_refused(running: Story) -> None:
    running.submits(*identified(maps(2)))
    dies(running)
    running.driver_says(KeepAlive())
    assert running.told_driver(SessionRefused)


def test_what_is_kept_survives_the_scheduler(running: Story) -> None:
    first, second = identified(*shuffle(2, 2))
    running.submits(first, second)
    running.finishes_stage(0)
    dies(running)
    log = snapshot(running.core.state)
    successor = next_scheduler(log, running.config)
    check(successor)
    assert [job.state for job in successor.state.jobs.values()] == [JobState.KEPT]
    assert list(successor.state.sessions.lost) == [SESSION]
    assert successor.state.jobs[1].stages[0].complete
    comes_back(running)
    running.submits(first, complete=False, session=NEXT)
    successor = next_scheduler(snapshot(running.core.state), running.config)
    check(successor)
    job = successor.state.jobs[1]
    assert (job.confirmed, len(job.stages)) == (1, 2)
