"""A driver's process: it opens a session, submits programs, lets them grow, reads and judges answers.

It keeps the rules of `flowgrid.submit`: one session, with its real `SessionLink`; a result block
that cannot be read is reported and read again; sinks are committed from what `JobSucceeded` lists.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import zmq

from flowgrid.ids import AttemptId, ExecutorId, JobId, StageId
from flowgrid.protocol.codec import to_driver_envelopes
from flowgrid.protocol.failures import Failure, FailureKind, FetchFailure
from flowgrid.protocol.job_graph import ExecutorAddress, OutputKind
from flowgrid.protocol.messages import (
    AddStages,
    CancelJob,
    CloseSession,
    FromDriver,
    JobAccepted,
    JobFailed,
    JobSucceeded,
    KeepAlive,
    OpenSession,
    ReleaseJob,
    ReportFetchFailed,
    SessionRefused,
    StageSucceeded,
    SubmitJob,
    ToDriver,
)
from flowgrid.submit.session_link import EnvelopeLostError, SessionForgottenError, SessionLink
from tests.scheduler.story import VERSIONS
from tests.simulation.disks import BlockFile, Disk, ReadError
from tests.simulation.programs import DRIVERS_JOB, Program
from tests.simulation.rows import MIXED, Lineage, Rows, merge, split

if TYPE_CHECKING:
    from tests.simulation.world import World

KEEP_ALIVE_S = 0.7
PATIENCE_S = 15.0
"""A scheduler that is silent for so long is gone."""

READ_S = 0.05
THINK_S = 0.3


@dataclasses.dataclass(slots=True)
class Job:
    """A submitted program and how far it is. `ended` says how it went, when it has."""

    program: Program
    request: int
    id: JobId | None = None
    grown: int = 1
    read: list[tuple[Rows, Lineage]] = dataclasses.field(default_factory=list)
    outputs: JobSucceeded | None = None
    ended: str = ""
    released: bool = False

    @property
    def submitted_stages(self) -> int:
        return sum(self.program.grows[: self.grown])


class SimDriver:
    """One session."""

    def __init__(self, world: World, name: str, program_count: int, stages_max: int) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.paused = False
        self.lost = ""
        self.session = f"{world.dice.getrandbits(128):032x}"
        self.host = world.dice.choice(world.hosts)
        self.disk = Disk(self.host)
        directory = f"/driver/{name}"
        world.disks.by_directory[directory] = self.disk
        holder = ExecutorId("driver", world.dice.getrandbits(64))
        self.address = ExecutorAddress(holder, self.host, directory, name)
        self.jobs: list[Job] = []
        self._envelopes = SessionLink(self.session)
        self._heard_at = world.timeline.now
        self._outbox: list[FromDriver] = [OpenSession(self.session, name, VERSIONS, {})]
        self._link = world.network.connect(
            world.scheduler.control_address, self.session.encode(), self._wake
        )
        for _ in range(program_count):
            self._submit(world.make_program(self.address, stages_max))
        self._send()
        self._keep_alive()

    @property
    def busy(self) -> bool:
        """Whether it still waits for anything."""
        return self.alive and any(not job.ended for job in self.jobs)

    # -- what happens to the process -----------------------------------------------------------

    def kill(self) -> None:
        self.vanish()
        self._link.close()

    def vanish(self) -> None:
        """Nobody closes its connection."""
        self.alive = self.disk.served = False

    def pause(self) -> None:
        self.paused = self.disk.paused = True

    def resume(self) -> None:
        self.paused = self.disk.paused = False
        self._heard_at = self.world.timeline.now
        self._wake()

    def close(self) -> None:
        """Its last word."""
        if self.alive:
            self._say(CloseSession())
            self.kill()

    def cancels(self) -> None:
        for job in self.jobs:
            if job.id is not None and not job.ended:
                self._say(CancelJob(job.id, "changed my mind"))
                return

    # -- words ---------------------------------------------------------------------------------

    def _submit(self, program: Program) -> None:
        for spec, recipe in zip(program.stages, program.recipes, strict=True):
            if spec.given is not None:
                assert spec.given.written_as is not None
                table = spec.given.written_as.number
                for partition in range(spec.partition_count):
                    blocks = split(recipe.run(partition, (), 0), 1)
                    attempt = AttemptId(DRIVERS_JOB, table, partition, 0)
                    self.disk.files[attempt] = BlockFile(blocks, {})
        job = Job(program, len(self.jobs))
        self.jobs.append(job)
        first = program.stages[: program.grows[0]]
        complete = len(program.grows) == 1
        self._outbox.append(SubmitJob(job.request, self.name, first, complete))

    def _say(self, *words: FromDriver) -> None:
        self._outbox += words
        self._send()

    def _send(self) -> None:
        if not self.alive or not self._outbox:
            return
        payload = self._envelopes.seal(self._outbox)
        self._outbox.clear()
        self._hand_over(payload)

    def _hand_over(self, payload: bytes) -> None:
        try:
            self._link.send(payload)
        except zmq.Again:
            self._lose("the scheduler takes nothing")

    def _keep_alive(self) -> None:
        if not self.alive:
            return
        if not self.paused:
            if self.world.timeline.now - self._heard_at > PATIENCE_S:
                self._lose("the scheduler is silent")
                return
            self._say(KeepAlive())
        self.world.timeline.after(KEEP_ALIVE_S, self._keep_alive)

    def _lose(self, reason: str) -> None:
        """The session is over, and with it its jobs."""
        self.lost = reason
        assert self.world.faults.excuse_lost_session(), f"{self.name} is lost: {reason}"
        for job in self.jobs:
            job.ended = job.ended or f"lost: {reason}"
        self.kill()

    def _wake(self) -> None:
        while self.alive and not self.paused:
            try:
                (payload,) = self._link.recv_multipart()
            except zmq.Again:
                return
            try:
                opened = self._envelopes.open(to_driver_envelopes.decode(payload))
            except (EnvelopeLostError, SessionForgottenError) as error:
                self._lose(repr(error))
                return
            for again in opened.again:
                self._hand_over(again)
            self._heard_at = self.world.timeline.now
            for message in opened.messages:
                self.world.note(self.name, message)
                self._hear(message)

    def _hear(self, message: ToDriver) -> None:
        match message:
            case SessionRefused():
                self._lose(message.reason)
            case JobAccepted():
                self.jobs[message.request].id = message.job
            case StageSucceeded():
                self._grow(message.stage)
            case JobFailed():
                self._failed(message)
            case JobSucceeded():
                self._succeeded(message)
            case _:
                pass  # for people

    def _job(self, id_: JobId) -> Job:
        return next(job for job in self.jobs if job.id == id_)

    # -- jobs ----------------------------------------------------------------------------------

    def _grow(self, stage: StageId) -> None:
        job = self._job(JobId(stage.job))
        if job.grown < len(job.program.grows) and stage.number == job.submitted_stages - 1:
            start = job.submitted_stages
            job.grown += 1
            stages = job.program.stages[start : job.submitted_stages]
            complete = job.grown == len(job.program.grows)
            word = AddStages(JobId(stage.job), stages, complete)
            self.world.timeline.after(self.world.dice.random() * THINK_S, lambda: self._say(word))

    def _failed(self, word: JobFailed) -> None:
        job, kind = self._job(word.job), word.failure.kind
        if not job.released:
            assert self.world.faults.excuse(kind), f"{kind} out of nothing: {word}"
            assert kind is not FailureKind.INDETERMINATE or not job.program.deterministic, word
            job.ended = f"failed: {kind}"

    def _succeeded(self, word: JobSucceeded) -> None:
        job = self._job(word.job)
        if job.ended:
            return
        if job.program.stages[-1].output is OutputKind.FILES:
            self._commit(job, word)
            return
        assert len(word.outputs.attempts) == job.program.stages[-1].partition_count
        job.outputs = word
        delay_s = self.world.dice.random() * READ_S
        self.world.timeline.after(delay_s, lambda: self._read(job, word))

    def _read(self, job: Job, word: JobSucceeded) -> None:
        """The next block of the result, as the driver was last told; then the one after it."""
        if not self.alive or job.ended or job.outputs is not word:
            return
        if self.paused:
            self.world.timeline.after(READ_S, lambda: self._read(job, word))
            return
        partition = len(job.read)
        if partition == len(word.outputs.attempts):
            rows = tuple(row for read, _ in job.read for row in read)
            self._judge(job, rows, merge(lineage for _, lineage in job.read))
            return
        outputs = word.outputs
        written_as = outputs.written_as or StageId(word.job.number, outputs.stage)
        producer = AttemptId(
            written_as.job, written_as.number, partition, outputs.attempts[partition]
        )
        holder = outputs.executors[outputs.holders[partition]]
        try:
            file = self.world.disks.open(self.host, holder, producer)
        except ReadError as error:
            fetch = FetchFailure(producer, holder.executor, error.cause)
            failure = Failure(FailureKind.FETCH_FAILED, f"no {producer}", fetch=fetch)
            self._say(ReportFetchFailed(word.job, failure))
            return
        job.read.append((file.bytes_read()[0], file.lineage))
        self.world.timeline.after(READ_S, lambda: self._read(job, word))

    def _commit(self, job: Job, word: JobSucceeded) -> None:
        """Only what winners staged becomes visible."""
        staged = self.world.staging[job.program.number]
        partitions = [attempt.partition for attempt, _ in word.files]
        expected = list(range(job.program.stages[-1].partition_count))
        assert sorted(partitions) == expected, f"files of partitions {partitions}"
        files = [staged[attempt, file.path] for attempt, file in word.files]
        lineages = [file.lineage for file in files]
        self._judge(job, tuple(row for file in files for row in file.rows), merge(lineages))

    def _judge(self, job: Job, rows: Rows, lineage: Lineage) -> None:
        """The answer is the one that a single process would give, from one version of everything."""
        assert MIXED not in lineage, f"{job.id}: the answer mixes two versions of a task"
        right = job.program.answer(lineage)
        assert tuple(sorted(rows)) == right, f"{job.id}: {len(rows)} rows are not the answer"
        job.ended = "succeeded"
        job.released = True
        if job.id is not None:
            release = ReleaseJob(job.id)
            delay_s = self.world.dice.random() * THINK_S
            self.world.timeline.after(delay_s, lambda: self._say(release))
