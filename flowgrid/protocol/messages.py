"""Every message between driver, scheduler and executor, grouped by its sender.

Messages travel in envelopes: one envelope is one batch, and its `sequence` counts envelopes from 0 on
each link and direction. ZeroMQ delivers at most once, so a gap in the sequence means that something
was lost: the receiver then treats the link, and with it the peer's incarnation, as lost, and the peer
starts anew. Events are past tense, requests are imperative. The same types are the scheduler's events,
so that a recorded log is a replay file.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from flowgrid.ids import AttemptId, DriverId, ExecutorId, JobId, StageId
from flowgrid.protocol.compatibility import Versions
from flowgrid.protocol.departures import (
    BlockOrder,
    BlocksCopied,
    CopyFailed,
    DecommissionAnswered,
    DecommissionExecutor,
    ExecutorExcluded,
    ExecutorReadmitted,
)
from flowgrid.protocol.failures import Failure
from flowgrid.protocol.job_graph import ExecutorAddress, StageOutputs, StageSpec, StageStatistics
from flowgrid.protocol.programs import (
    DriverOrder,
    DriverWord,
    HeldDriver,
    ProgramAnswer,
    ProgramQuestion,
    ProgramStatus,
)
from flowgrid.protocol.reports import AttemptReport, HeldAttempt, WrittenFile
from flowgrid.protocol.status import ExecutorStatus, JobStatus
from flowgrid.protocol.waits import AskWhy, AttemptProgress, JobStalled, JobWaits

# -- driver to scheduler ---------------------------------------------------------------------------


class OpenSession(msgspec.Struct, frozen=True, tag=True):
    """The first word of a driver. `session` is random, 32 hexadecimal digits, never used twice.

    `driver` is what the scheduler calls it, if the cluster itself runs it."""

    session: str
    name: str
    versions: Versions
    conf: dict[str, str] = {}
    driver: DriverId | None = None


class SubmitJob(msgspec.Struct, frozen=True, tag=True):
    """A new job with its first stages; `complete` says that no stage will be added.

    The last stage of a complete graph is the job's result. `request` comes back in `JobAccepted`.
    """

    request: int
    name: str
    stages: tuple[StageSpec, ...]
    complete: bool


class AddStages(msgspec.Struct, frozen=True, tag=True):
    """The job graph grows."""

    job: JobId
    stages: tuple[StageSpec, ...]
    complete: bool


class CancelJob(msgspec.Struct, frozen=True, tag=True):
    job: JobId
    reason: str


class ReleaseJob(msgspec.Struct, frozen=True, tag=True):
    """The driver has read the result (or no longer wants it): its blocks may go."""

    job: JobId


class KeepAlive(msgspec.Struct, frozen=True, tag=True):
    """A driver's heartbeat; and what an executor says to a scheduler that has fallen silent."""


class CloseSession(msgspec.Struct, frozen=True, tag=True):
    """The driver's last word; its running jobs are cancelled."""


class AskStatus(msgspec.Struct, frozen=True, tag=True):
    """May come without a session, from an observer; answered by `ClusterStatus`."""


class ReportFetchFailed(msgspec.Struct, frozen=True, tag=True):
    """The driver could not read a block of a succeeded job's result: make it again."""

    job: JobId
    failure: Failure


FromDriver: TypeAlias = (
    OpenSession
    | SubmitJob
    | AddStages
    | CancelJob
    | ReleaseJob
    | KeepAlive
    | CloseSession
    | AskStatus
    | AskWhy
    | DecommissionExecutor
    | ReportFetchFailed
    | ProgramQuestion
)


# -- scheduler to driver ---------------------------------------------------------------------------


class SessionOpened(msgspec.Struct, frozen=True, tag=True):
    """`slots` and `executors` count what is registered now. `run` is the same for all drivers that go on
    from each other under a resume name; "" without one."""

    epoch: int
    executors: int
    slots: int
    run: str = ""


class SessionRefused(msgspec.Struct, frozen=True, tag=True):
    reason: str


class SayAgain(msgspec.Struct, frozen=True, tag=True):
    """Send every envelope again from this number on: this scheduler goes on with the log of another, or
    it never had them. `heard` is the number of the envelope that made it ask."""

    received: int
    heard: int = 0


class ClusterChanged(msgspec.Struct, frozen=True, tag=True):
    executors: int
    slots: int


class JobAccepted(msgspec.Struct, frozen=True, tag=True):
    request: int
    job: JobId


class StageSucceeded(msgspec.Struct, frozen=True, tag=True):
    """A stage of a growing job graph has all its blocks; sent again if it had to be recomputed."""

    stage: StageId
    statistics: StageStatistics


class StageProgressed(msgspec.Struct, frozen=True, tag=True):
    """For people who watch; at most a few per second and stage."""

    stage: StageId
    label: str
    tasks: int
    running: int
    succeeded: int


class JobSucceeded(msgspec.Struct, frozen=True, tag=True):
    """`outputs` says where the result blocks are; `files` what sinks wrote, by (attempt, file)."""

    job: JobId
    outputs: StageOutputs
    statistics: StageStatistics
    files: tuple[tuple[AttemptId, WrittenFile], ...] = ()


class JobFailed(msgspec.Struct, frozen=True, tag=True):
    """`where` is the stage and task that failed, as text for people."""

    job: JobId
    failure: Failure
    where: str = ""


class ClusterStatus(msgspec.Struct, frozen=True, tag=True):
    epoch: int
    versions: Versions
    executors: tuple[ExecutorStatus, ...]
    jobs: tuple[JobStatus, ...]
    programs: tuple[ProgramStatus, ...] = ()


ToDriver: TypeAlias = (
    SessionOpened
    | SessionRefused
    | SayAgain
    | ClusterChanged
    | ExecutorExcluded
    | ExecutorReadmitted
    | DecommissionAnswered
    | JobAccepted
    | StageSucceeded
    | StageProgressed
    | JobSucceeded
    | JobFailed
    | JobWaits
    | JobStalled
    | ClusterStatus
    | ProgramAnswer
)


# -- executor to scheduler -------------------------------------------------------------------------


class RegisterExecutor(msgspec.Struct, frozen=True, tag=True):
    """The first word of an executor incarnation, or its answer to a `CallRoll` of that `epoch`."""

    address: ExecutorAddress
    slots: int
    memory_bytes: int
    versions: Versions
    epoch: int = 0
    held: tuple[HeldAttempt, ...] = ()
    drivers: tuple[HeldDriver, ...] = ()


class AttemptStarted(msgspec.Struct, frozen=True, tag=True):
    """A slot has begun; until then the attempt waits in the executor's backlog."""

    attempt: AttemptId


class AttemptSucceeded(msgspec.Struct, frozen=True, tag=True):
    attempt: AttemptId
    report: AttemptReport


class AttemptFailed(msgspec.Struct, frozen=True, tag=True):
    attempt: AttemptId
    failure: Failure


class AttemptCancelled(msgspec.Struct, frozen=True, tag=True):
    """The slot of a cancelled attempt is free again; never a failure of the task."""

    attempt: AttemptId


class ExecutorLeft(msgspec.Struct, frozen=True, tag=True):
    """An executor that ends in good order says so."""

    reason: str


FromExecutor: TypeAlias = (
    RegisterExecutor
    | AttemptStarted
    | AttemptSucceeded
    | AttemptFailed
    | AttemptCancelled
    | BlocksCopied
    | CopyFailed
    | ExecutorLeft
    | KeepAlive
    | DriverWord
)


class Heartbeat(msgspec.Struct, frozen=True, tag=True):
    """On a socket of its own. `sent` is the number of envelopes sent on the control link, so that a
    lost last word is noticed; `received` the same for the other direction. `running` has the
    attempts that take longer than a moment, `excluded_directories` what its disks refuse, for people."""

    executor: ExecutorId
    sent: int
    received: int
    blocks_bytes: int = 0
    running: tuple[AttemptProgress, ...] = ()
    excluded_directories: tuple[str, ...] = ()


# -- scheduler to executor -------------------------------------------------------------------------


class ExecutorRegistered(msgspec.Struct, frozen=True, tag=True):
    """`heartbeat_address` is where heartbeats go, and where signs of life come back from."""

    epoch: int
    heartbeat_address: str


class CallRoll(msgspec.Struct, frozen=True, tag=True):
    """This scheduler goes on with the log of the one you know: register again, and say what you hold.
    All envelopes are counted from 0."""


class Fence(msgspec.Struct, frozen=True, tag=True):
    """You are not (or no longer) one of us: stop all work, drop all blocks, register anew if at all."""

    reason: str
    final: bool = False


class DescribeStage(msgspec.Struct, frozen=True, tag=True):
    """Sent once per executor, before the first launch of the stage there."""

    stage: StageId
    spec: StageSpec


class LocateInputs(msgspec.Struct, frozen=True, tag=True):
    """What attempts launched from now on read: one entry per `StageSpec.inputs`."""

    stage: StageId
    inputs: tuple[StageOutputs, ...]


class LaunchAttempts(msgspec.Struct, frozen=True, tag=True):
    attempts: tuple[AttemptId, ...]


class CancelAttempts(msgspec.Struct, frozen=True, tag=True):
    attempts: tuple[AttemptId, ...]


class DropAttempts(msgspec.Struct, frozen=True, tag=True):
    """Delete what these attempts wrote: they lost, or nobody will read them any more."""

    attempts: tuple[AttemptId, ...]


class DropJob(msgspec.Struct, frozen=True, tag=True):
    """Cancel what runs of a job and delete all its blocks and descriptors."""

    job: JobId


class StopExecutor(msgspec.Struct, frozen=True, tag=True):
    """End in good order."""


ToExecutor: TypeAlias = (
    ExecutorRegistered
    | CallRoll
    | Fence
    | DescribeStage
    | LocateInputs
    | LaunchAttempts
    | CancelAttempts
    | DropAttempts
    | BlockOrder
    | DropJob
    | StopExecutor
    | DriverOrder
)


# -- envelopes -------------------------------------------------------------------------------------


class DriverEnvelope(msgspec.Struct, frozen=True, array_like=True):
    session: str
    sequence: int
    messages: tuple[FromDriver, ...]


class ExecutorEnvelope(msgspec.Struct, frozen=True, array_like=True):
    executor: ExecutorId
    sequence: int
    messages: tuple[FromExecutor, ...]


class ToDriverEnvelope(msgspec.Struct, frozen=True, array_like=True):
    """`received` counts the driver's envelopes that even the scheduler's death cannot undo. After such
    a death the driver sends all others again, under their old numbers.

    `link` grows when a scheduler that had given the driver's connection up counts anew."""

    epoch: int
    sequence: int
    messages: tuple[ToDriver, ...]
    received: int = 0
    link: int = 0


class ToExecutorEnvelope(msgspec.Struct, frozen=True, array_like=True):
    epoch: int
    executor: ExecutorId
    sequence: int
    messages: tuple[ToExecutor, ...]
