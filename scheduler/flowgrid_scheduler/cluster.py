"""Everything the scheduler knows, in one place, and the few moves that several events share.

The modules that answer events (`drivers`, `outcomes`, `recovery`, `launches`) are functions over this
state. None of them knows about sockets, clocks or threads.
"""

from __future__ import annotations

from collections import deque

import msgspec

from flowgrid.config import Config
from flowgrid.ids import AttemptId, JobId
from flowgrid.protocol.compatibility import Versions
from flowgrid.protocol.failures import Failure
from flowgrid.protocol.messages import (
    CancelAttempts,
    ClusterChanged,
    ClusterStatus,
    DropJob,
    Fence,
    JobFailed,
    StageProgressed,
    StageSucceeded,
)
from flowgrid_scheduler.actions import Outbox
from flowgrid_scheduler.attempts import AttemptState
from flowgrid_scheduler.executors import Executor, Executors
from flowgrid_scheduler.job_log import LogDraft, VerdictRecord
from flowgrid_scheduler.jobs import Job, JobState
from flowgrid_scheduler.patience import PatientClock
from flowgrid_scheduler.programs import Programs
from flowgrid_scheduler.sessions import Sessions
from flowgrid_scheduler.stages import Stage, TaskState
from flowgrid_scheduler.suspicions import Suspicions

PROGRESS_INTERVAL_S = 0.2

VERDICTS_MAX = 1_000
"""Failed jobs whose end is remembered for drivers that may not have heard of it."""


class ClusterIdentity(msgspec.Struct, frozen=True):
    """What one start of a scheduler is called, and what its peers must agree with."""

    epoch: int
    versions: Versions
    heartbeat_address: str = ""


class ClusterState:
    """The state of `SchedulerCore`."""

    def __init__(self, config: Config, identity: ClusterIdentity) -> None:
        self.config = config
        self.identity = identity
        self.clock = PatientClock()
        self.out = Outbox()
        self.log = LogDraft()
        self.starts = 0
        """Schedulers before us that worked on jobs of ours."""
        self.executors = Executors()
        self.sessions = Sessions()
        self.suspicions = Suspicions()
        self.jobs: dict[int, Job] = {}
        self.verdicts: dict[int, VerdictRecord] = {}
        self.jobs_submitted = 0
        self.programs = Programs()
        self.programs_submitted = 0
        self.rotation: deque[Job] = deque()
        """Running jobs, the one whose turn it is first."""
        self.nobody_since_s: float | None = 0.0
        """Since when there is no executor at all."""

    def job_of(self, job: JobId | AttemptId) -> Job | None:
        return self.jobs.get(job.number if isinstance(job, JobId) else job.job)

    def incompatible(self, peer: Versions) -> str:
        """Why a peer's versions cannot work with ours, or "". Names both."""
        ours = self.identity.versions
        for name in ("protocol", "python", "pyarrow", "duckdb"):
            mine, theirs = str(getattr(ours, name)), str(getattr(peer, name))
            if name == "python":
                mine, theirs = _minor(mine), _minor(theirs)
            if mine != theirs:
                return f"{name} {theirs or '(none)'} does not match the scheduler's {mine}"
        return ""

    # -- words to drivers ----------------------------------------------------------------------

    def announce_cluster(self) -> None:
        """Tell every driver how large the cluster is now."""
        changed = ClusterChanged(len(self.executors.staying()), self.executors.slots)
        for session in self.sessions.open:
            self.out.to_driver(session, changed)

    def report_progress(self, job: Job, stage: Stage) -> None:
        """Tell people, but not too often; what is not told now is owed (`report_owed`)."""
        stage.progress_owed = self.clock.awake_s - stage.progress_at < PROGRESS_INTERVAL_S
        if not stage.progress_owed:
            stage.progress_at = self.clock.awake_s
            succeeded = stage.states.count(TaskState.SUCCEEDED)
            tasks = len(stage.states)
            word = StageProgressed(stage.id, stage.spec.label, tasks, stage.running, succeeded)
            self.out.to_driver(job.session, word)

    def report_owed(self) -> None:
        """Tell what was too much a moment ago."""
        for job in self.rotation:
            for stage in job.open:
                if stage.progress_owed:
                    self.report_progress(job, stage)

    def stage_completed(self, job: Job, stage: Stage) -> None:
        """A stage has all its blocks: lift the barrier, or end the job."""
        stage.reported = True
        if stage.id.number not in job.reports:
            job.reports.append(stage.id.number)
        self.log.job(job.id)
        if job.result is stage:
            self._job_succeeded(job)
        else:
            statistics = stage.blocks.statistics()
            self.out.to_driver(job.session, StageSucceeded(stage.id, statistics))
            job.refresh_open()

    # -- ends of jobs --------------------------------------------------------------------------

    def _job_succeeded(self, job: Job) -> None:
        """The answer is there; what still runs of this job is no part of it."""
        job.state = JobState.SUCCEEDED
        self.log.job(job.id)
        job.open = []
        self.rotation.remove(job)
        self.out.to_driver(job.session, job.succeeded(self.executors.address_of))
        self.abandon_all(job)

    def abandon_all(self, job: Job) -> None:
        """Nothing that runs of this job is wanted any more."""
        for executor in self.executors.alive.values():
            attempts = [a for a in executor.attempts if a.job == job.id.number]
            for attempt in attempts:
                self.abandon(job, executor, attempt)

    def resume_job(self, job: Job) -> None:
        """A succeeded job must compute part of its result again."""
        job.state = JobState.RUNNING
        self.log.job(job.id)
        job.running_since_s = self.clock.awake_s
        self.rotation.append(job)

    def fail_job(self, job: Job, failure: Failure, where: str = "") -> None:
        """The job ends without an answer, and nothing of it stays."""
        failed = JobFailed(job.id, failure, where)
        self.out.to_driver(job.session, failed)
        self.drop_job(job)
        self.verdicts[job.id.number] = VerdictRecord(job.session, job.request, failed)
        self.log.verdict(job.id)
        if len(self.verdicts) > VERDICTS_MAX:
            self.forget_verdict(next(iter(self.verdicts)))

    def forget_verdict(self, job: int) -> None:
        del self.verdicts[job]
        self.log.verdict(JobId(job))

    def drop_job(self, job: Job) -> None:
        """Forget a job here and on every executor that knows it."""
        del self.jobs[job.id.number]
        self.suspicions.forget_job(job.id.number)
        self.log.job_gone(job.id)
        if job.state is JobState.RUNNING:
            self.rotation.remove(job)
        for executor in self.executors.alive.values():
            if executor.told.pop(job.id.number, None) is not None:
                self.out.to_executor(executor.id, DropJob(job.id))
                for attempt in [a for a in executor.attempts if a.job == job.id.number]:
                    executor.forget(attempt)

    def abandon(self, job: Job, executor: Executor, attempt: AttemptId) -> None:
        """Cancel an attempt that nobody wants any more; its task waits for another one."""
        stage = job.stages[attempt.stage]
        before = executor.step(attempt, CancelAttempts)
        if before is not None:  # else it is being cancelled already
            self.out.to_executor(executor.id, CancelAttempts((attempt,)))
            stage.running -= before is AttemptState.RUNNING
        if stage.is_current(attempt):
            stage.put_back(attempt)

    def fence(self, executor: Executor, reason: str) -> None:
        self.out.to_executor(executor.id, Fence(reason))

    def status(self) -> ClusterStatus:
        """For people."""
        awake_s = self.clock.awake_s
        return ClusterStatus(
            self.identity.epoch,
            self.identity.versions,
            tuple(executor.status(awake_s) for executor in self.executors.alive.values()),
            tuple(job.status(awake_s) for job in self.jobs.values()),
            tuple(program.status() for program in self.programs.known.values()),
        )

    def fingerprint(self) -> list[object]:
        """Everything that matters here as plain data."""
        return [
            [self.identity.epoch, self.jobs_submitted, self.nobody_since_s, self.clock.awake_s],
            [job.id.number for job in self.rotation],
            [self.executors.fingerprint(), self.sessions.fingerprint()],
            self.suspicions.fingerprint(),
            [self.starts, sorted(self.verdicts)],
            [job.fingerprint() for job in self.jobs.values()],
            [self.programs_submitted, self.programs.fingerprint()],
        ]


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
