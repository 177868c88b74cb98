"""Jobs of killed drivers whose programs are run again."""

from __future__ import annotations

import hashlib

import msgspec
import pytest
from flowgrid_scheduler.actions import Action
from flowgrid_scheduler.core import SchedulerCore
from flowgrid_scheduler.events import ExecutorUnreachable, SessionUnreachable
from flowgrid_scheduler.invariants import check
from flowgrid_scheduler.job_log import Key, Kind
from flowgrid_scheduler.jobs import JobState
from flowgrid_scheduler.snapshots import snapshot
from flowgrid_scheduler.waiting import why

from flowgrid.config import Config
from flowgrid.ids import JobId
from flowgrid.protocol.failures import FailureKind
from flowgrid.protocol.job_graph import OutputKind, StageSpec
from flowgrid.protocol.messages import (
    AddStages,
    AttemptSucceeded,
    CloseSession,
    DescribeStage,
    DropAttempts,
    DropJob,
    FromDriver,
    JobAccepted,
    JobFailed,
    JobSucceeded,
    KeepAlive,
    ReleaseJob,
    SessionRefused,
    StageSucceeded,
)
from tests.scheduler.story import (
    IDENTITY,
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
from tests.scheduler.test_schedules import Chaos
from tests.scheduler.test_snapshots import applied, next_scheduler

NEXT = "e" * 32
"""The session of the next run."""


def identified(*specs: StageSpec, program: str = "nightly") -> tuple[StageSpec, ...]:
    """The stages of a program, each with its identity."""
    known: list[StageSpec] = []
    for spec in specs:
        seen = msgspec.msgpack.encode((program, spec.number, spec.label, spec.payload))
        identity = hashlib.blake2b(seen, digest_size=16).digest()
        known.append(msgspec.structs.replace(spec, identity=identity))
    return tuple(known)


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


def test_a_program_that_grows_otherwise_fails_as_diverged_and_gets_nothing(running: Story) -> None:
    first, second = identified(*shuffle(2, 2))
    running.submits(first, second)
    running.finishes_stage(0)
    dies(running)
    comes_back(running)
    running.submits(first, complete=False, session=NEXT)
    (other,) = identified(reduces(2, first), program="changed")
    running.driver_says(AddStages(JOB, (other,), True), session=NEXT)
    assert running.failure().failure.kind is FailureKind.DIVERGED
    assert not running.core.state.jobs


def test_a_graph_that_ends_earlier_than_before_has_diverged(running: Story) -> None:
    first, second = identified(*shuffle(2, 2))
    running.submits(first, second)
    dies(running)
    comes_back(running)
    running.submits(first, complete=False, session=NEXT)
    running.driver_says(AddStages(JOB, (), True), session=NEXT)
    assert running.failure().failure.kind is FailureKind.DIVERGED


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


class Mortal(Chaos):
    """A random story whose driver dies again and again, and submits its jobs anew in its next run."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.deaths = 0
        self.programs: dict[int, tuple[tuple[StageSpec, ...], int]] = {}
        """Stages by job, and how many of them come with the submission."""
        self.begins()

    @property
    def session(self) -> str:
        return f"{self.deaths:032x}"

    def begins(self) -> None:
        self.connects(self.session, **{"resume.name": "nightly"})

    def driver_says(self, *messages: FromDriver, session: str = SESSION) -> list[Action]:
        return super().driver_says(*messages, session=self.session)

    def submits(
        self, *stages: StageSpec, complete: bool = True, session: str = SESSION
    ) -> list[Action]:
        return super().submits(*stages, complete=complete, session=self.session)

    def job_comes(self) -> None:
        if self.dice.random() < 0.5:
            self.driver_dies()
        before = self.core.state.jobs_submitted
        shape = Chaos(self.dice.randrange(1 << 30))
        shape.job_comes()
        (job,) = shape.core.state.jobs.values()
        known = tuple(stage.spec for stage in job.stages)
        stages = known + tuple(spec for rest in shape.growing.values() for spec in rest)
        program = identified(*stages, program=str(before))
        self.run_job(program, len(known))

    def run_job(self, stages: tuple[StageSpec, ...], known: int) -> int:
        complete = known == len(stages)
        actions = self.submits(*stages[:known], complete=complete)
        number = sent_to_drivers(actions, JobAccepted)[0].job.number
        self.programs[number] = stages, known
        if not complete:
            self.growing[number] = list(stages[known:])
        return number

    def driver_dies(self) -> None:
        self.happens(SessionUnreachable(self.session))
        self.growing.clear()
        self.deaths += 1
        self.begins()
        for number in [n for n in self.core.state.jobs if n in self.programs]:
            if number in self.core.state.jobs:
                self.run_job(*self.programs[number])


@pytest.mark.parametrize("index", range(20))
def test_however_often_a_driver_dies_its_jobs_end_and_nothing_stays(seed: int, index: int) -> None:
    story = Mortal(seed + index)
    story.run(200)
    story.ends()
    wanted = {job.id for job in story.core.state.jobs.values() if job.state is not JobState.KEPT}
    ended = {word.job for word in story.told_driver(JobSucceeded) + story.told_driver(JobFailed)}
    assert wanted <= ended
    assert not [f for f in story.told_driver(JobFailed) if f.failure.kind is FailureKind.DIVERGED]
    story.driver_says(CloseSession())
    assert not story.core.state.jobs
    assert not story.core.state.sessions.numbered
    _require_a_log_of(story)


def _require_a_log_of(story: Story) -> None:
    """The story told again: at every moment the log makes the state that it is a snapshot of."""
    core, log = SchedulerCore(story.config, IDENTITY), dict[Key, bytes]()
    for number, (now, event) in enumerate(story.told):
        core.handle(event, now)
        log = applied(log, core.changes())
        if number % 20 == 0:
            assert log == snapshot(core.state)
            successor = next_scheduler(log, story.config)
            check(successor)
            after = snapshot(successor.state)
            assert {k: b for k, b in log.items() if k.kind >= Kind.SESSION} == {
                k: b for k, b in after.items() if k.kind >= Kind.SESSION
            }
