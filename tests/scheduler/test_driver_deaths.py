"""Random stories in which the driver dies again and again, and its program is run again or changed."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest
from flowgrid_scheduler.actions import Action
from flowgrid_scheduler.core import SchedulerCore
from flowgrid_scheduler.events import Event, SessionUnreachable
from flowgrid_scheduler.invariants import check
from flowgrid_scheduler.job_log import Key, Kind
from flowgrid_scheduler.jobs import JobState
from flowgrid_scheduler.snapshots import snapshot

from flowgrid.ids import AttemptId, JobId
from flowgrid.protocol.job_graph import StageSpec
from flowgrid.protocol.messages import (
    CloseSession,
    FromDriver,
    JobAccepted,
    JobFailed,
    JobSucceeded,
    SubmitJob,
)
from tests.scheduler.story import (
    IDENTITY,
    SESSION,
    Story,
    launches,
    sent_to_drivers,
)
from tests.scheduler.test_kept_jobs import identified
from tests.scheduler.test_schedules import Chaos
from tests.scheduler.test_snapshots import applied, next_scheduler


def changed(specs: Sequence[StageSpec], where: int, change: str) -> tuple[StageSpec, ...]:
    """The same program but for one stage, and for those that depend on it."""
    others = {where}
    found = []
    for spec in specs:
        if spec.number in others or others.intersection(edge.stage for edge in spec.inputs):
            others.add(spec.number)
            spec = msgspec.structs.replace(spec, identity=spec.identity + change.encode())
        found.append(spec)
    return tuple(found)


class Mortal(Chaos):
    """A random story whose driver dies again and again, and submits its jobs anew in its next run."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.deaths = 0
        self.requests = 0
        self.programs: dict[int, tuple[tuple[StageSpec, ...], int]] = {}
        """Stages by request, and how many of them come with the submission."""
        self.made: dict[AttemptId, bytes] = {}
        """For which stage each attempt was launched."""
        self.begins()

    def happens(self, event: Event) -> list[Action]:
        actions = super().happens(event)
        for attempt in launches(actions):
            stage = self.core.state.jobs[attempt.job].stages[attempt.stage]
            self.made[attempt] = stage.spec.identity
        return actions

    def check_versions(self, id_: JobId) -> None:
        """Every stage of an answer is the driver's, and made for it. What is read changes its version
        when a recompute differs, and its stage when the program does: both were seen at launch."""
        job = self.core.state.jobs[id_.number]
        wanted, _ = self.programs[job.request]
        assert [stage.spec.identity for stage in job.graph] == [spec.identity for spec in wanted]
        for stage in job.graph:
            for partition, number in enumerate(stage.blocks.attempts):
                if number >= 0:
                    winner = stage.attempt_of(partition, number)
                    assert self.made[winner] == stage.spec.identity, f"{winner} of another stage"
                    if stage.spec.inputs:
                        assert self.read[winner] == self.version_now(winner), f"{winner}: mixed"

    @property
    def session(self) -> str:
        return f"{self.deaths:032x}"

    def begins(self) -> None:
        self.connects(self.session, **{"resume.name": "nightly"})

    def driver_says(self, *messages: FromDriver, session: str = SESSION) -> list[Action]:
        return super().driver_says(*messages, session=self.session)

    def job_comes(self) -> None:
        if self.dice.random() < 0.5:
            self.driver_dies()
        before = self.core.state.jobs_submitted
        shape = Chaos(self.dice.randrange(1 << 30))
        shape.job_comes()
        (job,) = shape.core.state.jobs.values()
        known = tuple(stage.spec for stage in job.stages)
        stages = known + tuple(spec for rest in shape.growing.values() for spec in rest)
        self.run_job(identified(*stages, program=str(before)), len(known))

    def run_job(self, stages: tuple[StageSpec, ...], known: int) -> None:
        """Submit it; it becomes a new job, or one that there was."""
        self.requests += 1
        self.programs[self.requests] = stages, known
        word = SubmitJob(self.requests, "query", stages[:known], known == len(stages))
        (accepted, *_) = sent_to_drivers(self.driver_says(word), JobAccepted)
        if known < len(stages):
            self.growing[accepted.job.number] = list(stages[known:])

    def driver_dies(self) -> None:
        """Its next run is the same program, or one that was changed somewhere."""
        self.happens(SessionUnreachable(self.session))
        self.growing.clear()
        self.deaths += 1
        self.begins()
        for job in list(self.core.state.jobs.values()):
            stages, known = self.programs[job.request]
            if self.dice.random() < 0.3:
                where = self.dice.randrange(len(stages))
                change = f"{job.id} {self.deaths}"
                stages = changed(stages, where, change)
            self.run_job(stages, known)


@pytest.mark.parametrize("index", range(20))
def test_however_often_a_driver_dies_its_jobs_end_and_nothing_stays(seed: int, index: int) -> None:
    story = Mortal(seed + index)
    story.run(200)
    story.ends()
    wanted = {job.id for job in story.core.state.jobs.values() if job.state is not JobState.KEPT}
    ended = {word.job for word in story.told_driver(JobSucceeded) + story.told_driver(JobFailed)}
    assert wanted <= ended
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
