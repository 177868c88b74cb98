"""Random schedules: jobs of random shape, executors that come and go, failures of every sort.

After every event the invariants hold (the story checks them), and when the faults stop, every job ends
with an answer or with a named error.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from flowgrid_scheduler.actions import Action
from flowgrid_scheduler.core import SchedulerCore
from flowgrid_scheduler.events import Event, ExecutorUnreachable
from flowgrid_scheduler.stages import reads

from flowgrid.config import Config
from flowgrid.ids import AttemptId, DriverId, JobId
from flowgrid.protocol.failures import FailureKind, FetchCause
from flowgrid.protocol.job_graph import StageSpec
from flowgrid.protocol.messages import (
    AddStages,
    AttemptCancelled,
    AttemptStarted,
    CancelAttempts,
    CancelJob,
    DriverEnvelope,
    DropJob,
    JobFailed,
    JobSucceeded,
    OpenSession,
    ReleaseJob,
    ReportFetchFailed,
)
from flowgrid.protocol.programs import (
    CancelProgram,
    DriverEnded,
    DriverPrinted,
    Output,
    ProgramSpec,
    SubmitProgram,
)
from tests.scheduler.story import (
    IDENTITY,
    ROWS,
    SESSION,
    VERSIONS,
    Story,
    broadcast,
    executor_id,
    fetch_failure,
    launches,
    maps,
    one_to_one,
    reduces,
    sent_to_drivers,
    sent_to_executors,
)

COUNTED = (FailureKind.INTERNAL, FailureKind.DISK_FULL, FailureKind.PROCESS_DIED)


Version = dict[tuple[int, int], tuple[int, ...]]
"""What an attempt reads: by input and partition, the digests of the blocks."""


class Chaos(Story):
    """A story that tells itself from a seed. Some recomputes write other rows than before, and no
    answer may rest on two versions of anything: `read` remembers what each attempt was told to read."""

    def __init__(self, seed: int) -> None:
        super().__init__(Config.parse({"task.attempts_max": 6, "task.process_deaths_max": 6}))
        self.dice = random.Random(seed)
        self.alive: list[str] = []
        self.names = (chr(code) for code in range(0x100, 0x1000))
        self.cancelling: list[AttemptId] = []
        self.read: dict[AttemptId, Version] = {}
        self.growing: dict[int, list[StageSpec]] = {}

    def happens(self, event: Event) -> list[Action]:
        actions = super().happens(event)
        for attempt in launches(actions):
            self.read[attempt] = self.version_now(attempt)
        for succeeded in sent_to_drivers(actions, JobSucceeded):
            self.check_versions(succeeded.job)
        for _, cancel in sent_to_executors(actions, CancelAttempts):
            self.cancelling += cancel.attempts
        for name, drop in sent_to_executors(actions, DropJob):
            self.live = {
                attempt: who
                for attempt, who in self.live.items()
                if attempt.job != drop.job.number or who != name
            }
        if self.dice.random() < 0.05:  # everything may come twice
            super().happens(event)
        return actions

    def run(self, steps: int) -> None:
        for _ in range(3):
            self.executor_joins()
        for _ in range(steps):
            choose = [
                (self.job_comes, 1),
                (self.graph_grows, 3 if self.growing else 0),
                (self.executor_joins, 1 if len(self.alive) < 4 else 0),
                (self.executor_dies, 1 if self.alive else 0),
                (self.attempt_ends_well, 30 if self.live else 0),
                (self.attempt_starts, 10 if self.live else 0),
                (self.attempt_fails, 2 if self.live else 0),
                (self.fetch_fails, 3 if self.live else 0),
                (self.cancel_is_confirmed, 10 if self.cancelling else 0),
                (self.driver_changes_its_mind, 1),
                (self.result_cannot_be_read, 1),
                (self.program_comes, 1),
                (self.driver_of_a_program_speaks, 3),
                (lambda: self.time_passes(0.5), 3),
            ]
            actions, weights = zip(*choose, strict=True)
            self.dice.choices(actions, weights)[0]()

    def ends(self) -> None:
        """The faults stop: everything must come to an end."""
        if not self.alive:
            self.executor_joins()
        for _ in range(5_000):
            if self.growing:
                self.graph_grows()
            if not self.core.state.rotation:
                return
            if self.cancelling:
                self.cancel_is_confirmed()
            elif self.live:
                self.attempt_ends_well()
            else:
                self.time_passes(0.5)
        raise AssertionError("a job does not end")

    def version_now(self, attempt: AttemptId) -> Version:
        """The digests that the catalog has for everything that an attempt reads."""
        job = self.core.state.jobs[attempt.job]
        version: Version = {}
        for index, edge in enumerate(job.stages[attempt.stage].spec.inputs):
            blocks = job.stages[edge.stage].blocks
            part = edge.slices[attempt.partition] if edge.slices is not None else None
            for partition in range(blocks.spec.partition_count):
                if part is None or reads(part, partition):
                    version[index, partition] = (blocks.digest_of(partition),)
        return version

    def check_versions(self, id_: JobId) -> None:
        """Every winner of an answer has read what is now in the catalog."""
        job = self.core.state.jobs[id_.number]
        for stage in job.stages:
            for partition, number in enumerate(stage.blocks.attempts):
                winner = AttemptId(id_.number, stage.id.number, partition, number)
                if number >= 0 and stage.spec.inputs:
                    assert self.read[winner] == self.version_now(winner), f"{winner}: mixed"

    # -- what can happen -----------------------------------------------------------------------

    def job_comes(self) -> None:
        dice = self.dice
        stages: list[StageSpec] = [maps(dice.randint(1, 6), targets=dice.randint(1, 4))]
        for number in range(1, dice.randint(1, 4)):
            upstream = dice.choice(stages)
            shape = dice.choice(["reduces", "one to one", "broadcast", "maps"])
            if shape == "reduces":
                stages.append(reduces(upstream.target_count, upstream, number))
            elif shape == "one to one":
                stages.append(one_to_one(upstream, number))
            elif shape == "broadcast":
                stages.append(broadcast(dice.randint(0, 4), upstream, number))
            else:
                stages.append(maps(dice.randint(0, 3), dice.randint(1, 2), number))
        known = dice.randint(1, len(stages))
        self.submits(*stages[:known], complete=known == len(stages))
        if known < len(stages):
            self.growing[self.core.state.jobs_submitted] = stages[known:]

    def graph_grows(self) -> None:
        number = self.dice.choice(list(self.growing))
        stages = self.growing.pop(number)
        self.driver_says(AddStages(JobId(number), tuple(stages), True))

    def executor_joins(self) -> None:
        name = next(self.names)
        self.alive.append(name)
        self.joins(name, slots=self.dice.randint(1, 3))

    def executor_dies(self) -> None:
        name = self.dice.choice(self.alive)
        self.alive.remove(name)
        self.forgets(name)
        self.happens(ExecutorUnreachable(executor_id(name)))

    def attempt_ends_well(self) -> None:
        attempt = self.dice.choice(list(self.live))
        if attempt.job in self.core.state.jobs:
            rows = ROWS + (self.dice.random() < 0.02)
            self.succeeds(attempt, rows=rows, salt=self.dice.random() < 0.02)
        self.live.pop(attempt, None)

    def attempt_starts(self) -> None:
        attempt = self.dice.choice(list(self.live))
        self.executor_says(self.live[attempt], AttemptStarted(attempt))

    def attempt_fails(self) -> None:
        self.fails(self.dice.choice(list(self.live)), self.dice.choice(COUNTED))

    def fetch_fails(self) -> None:
        attempt = self.dice.choice(list(self.live))
        job = self.core.state.jobs.get(attempt.job)
        if job is None or not job.stages[attempt.stage].spec.inputs:
            return
        upstream = job.stages[job.stages[attempt.stage].spec.inputs[0].stage]
        if upstream.states:
            partition = self.dice.randrange(len(upstream.states))
            number = max(0, upstream.launches[partition] - 1)
            producer = AttemptId(attempt.job, upstream.id.number, partition, number)
            cause = self.dice.choice(list(FetchCause))
            self.fails(attempt, fetch_failure(producer, "x", cause))

    def cancel_is_confirmed(self) -> None:
        attempt = self.cancelling.pop(self.dice.randrange(len(self.cancelling)))
        name = self.live.pop(attempt, None)
        if name is not None:
            self.executor_says(name, AttemptCancelled(attempt))

    def driver_changes_its_mind(self) -> None:
        if self.core.state.jobs and self.dice.random() < 0.5:
            job = JobId(self.dice.choice(list(self.core.state.jobs)))
            word = ReleaseJob(job) if self.dice.random() < 0.5 else CancelJob(job, "why not")
            self.driver_says(word)

    def program_comes(self) -> None:
        spec = ProgramSpec("app", "app.py", (), {}, b"files")
        token = f"{self.dice.getrandbits(128):032x}"
        self.happens(DriverEnvelope("observer-1", 0, (SubmitProgram(token, spec),)))

    def driver_of_a_program_speaks(self) -> None:
        for program in list(self.core.state.programs.running()):
            number = self.dice.randint(0, program.driver.number)
            driver = DriverId(program.id.number, number)  # or one that was given up
            choose = self.dice.random()
            if choose < 0.3:
                code = self.dice.choice([0, 1, -9, -9])
                self.executor_says(program.executor_name, DriverEnded(driver, code))
            elif choose < 0.6:
                piece = Output(driver, program.output.printed, b"a line")
                self.executor_says(program.executor_name, DriverPrinted(piece))
            elif choose < 0.7:
                question = CancelProgram(program.id)
                self.happens(DriverEnvelope("observer-1", 0, (question,)))
            else:
                session = f"{self.dice.getrandbits(128):032x}"
                word = OpenSession(session, "app", VERSIONS, {}, driver)
                self.driver_says(word, session=session)
            if not self.alive:
                return

    def result_cannot_be_read(self) -> None:
        for job in list(self.core.state.jobs.values()):
            stage = job.result
            if stage is not None and stage.states:
                number = max(0, stage.launches[0] - 1)
                producer = AttemptId(job.id.number, stage.id.number, 0, number)
                self.driver_says(ReportFetchFailed(job.id, fetch_failure(producer, "x")))
                return


def tell(seed: int, steps: int = 150) -> Chaos:
    chaos = Chaos(seed)
    chaos.connects(SESSION)
    chaos.run(steps)
    chaos.ends()
    return chaos


@pytest.mark.parametrize("index", range(40))
def test_every_job_ends_whatever_happens(seed: int, index: int) -> None:
    chaos = tell(seed + index)
    ended = {word.job for word in chaos.told_driver(JobSucceeded)}
    ended |= {word.job for word in chaos.told_driver(JobFailed)}
    released = chaos.core.state.jobs_submitted - len(chaos.core.state.jobs)
    assert len(ended) >= len(chaos.core.state.jobs)
    assert len(ended) + released >= chaos.core.state.jobs_submitted
    again = SchedulerCore(chaos.config, IDENTITY)
    for now, event in chaos.told:
        again.handle(event, now)


def test_the_same_seed_is_the_same_story_whatever_the_hash_seed() -> None:
    program = "from tests.scheduler.test_schedules import tell; print(tell(7).core.digest())"
    root = Path(__file__).parents[2]
    path = os.pathsep.join(str(root / part) for part in (".", "scheduler"))
    digests = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "4711")
    }
    assert len(digests) == 1
