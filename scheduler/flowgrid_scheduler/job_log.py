"""What of the scheduler's state survives the scheduler: facts by key, and nothing else.

The log holds the facts that cannot be had from anybody else: which drivers have a session, which jobs
they submitted, how their graphs grew, which attempt won each task, and who holds its blocks. What
executors do at the moment they say themselves when they come back (`roll_call`).

A fact has a key, and a new fact under a key replaces the old one. So the log is at any moment a snapshot
of what it is about: its size is that of the jobs there are, it needs no truncation, and to replay it is
to read it. `record_of` is the one way from the state to a fact. Whoever changes what a fact is about
touches its key (`LogDraft`); the shell writes all facts of one turn in one transaction, before the
scheduler's words of that turn leave the process.
"""

from __future__ import annotations

import enum
import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec

from flowgrid.ids import AttemptId, DriverId, JobId, ProgramId
from flowgrid.protocol.job_graph import ExecutorAddress, StageSpec
from flowgrid.protocol.messages import JobFailed
from flowgrid.protocol.programs import Output, ProgramSpec, ProgramState
from flowgrid.protocol.reports import WrittenFile


class Kind(enum.IntEnum):
    """In the order in which a state is built of them: what belongs to no job comes first, though."""

    CLUSTER = 0
    EXECUTOR = 1
    SESSION = 2
    VERDICT = 3
    JOB = 4
    STAGE = 5
    WINNER = 6
    PROGRAM = 7
    PROGRAM_SPEC = 8


class Key(NamedTuple):
    """`job` is 0 for what belongs to no job; all facts of a job are neighbours, and go together."""

    job: int
    kind: Kind
    number: int = 0
    partition: int = 0


CLUSTER = Key(0, Kind.CLUSTER)


class ClusterRecord(msgspec.Struct, frozen=True, array_like=True):
    """`starts` counts the schedulers that have begun with this log while it had jobs."""

    starts: int
    jobs_submitted: int
    programs_submitted: int = 0


class ExecutorRecord(msgspec.Struct, frozen=True, array_like=True):
    address: ExecutorAddress
    slots: int
    alive: bool
    leaving: bool = False


class SessionRecord(msgspec.Struct, frozen=True, array_like=True):
    """`received` counts the driver's envelopes whose consequences are in this log."""

    session: str
    name: str
    conf: dict[str, str]
    received: int
    lost: bool = False
    driver: DriverId | None = None
    run: str = ""


class VerdictRecord(msgspec.Struct, frozen=True, array_like=True):
    """How a job ended that is gone: its driver may not have heard of it."""

    session: str
    request: int
    failed: JobFailed


class JobRecord(msgspec.Struct, frozen=True, array_like=True):
    """`reported` are the numbers of stages whose success the driver may have heard of, in that order;
    `confirmed` counts the stages that the present driver has submitted."""

    session: str
    request: int
    name: str
    succeeded: bool
    graph_complete: bool
    result_fetch_failures: int
    reported: tuple[int, ...]
    kept: bool = False
    confirmed: int = 1 << 31
    replaced: tuple[tuple[int, int], ...] = ()


class WinnerRecord(msgspec.Struct, frozen=True, array_like=True):
    """The last winner of a task. Both numbers are -1 when its blocks are lost: its sizes and digest
    are kept to judge the next one. `sizes` are rows and bytes by target, packed (`count_table`)."""

    attempt: int
    holder: int
    sizes: tuple[bytes, bytes]
    digest: int
    files: tuple[WrittenFile, ...] = ()


class ProgramRecord(msgspec.Struct, frozen=True, array_like=True):
    """`executor` is an index, for as long as the program runs; `output` is there when it has ended."""

    token: str
    name: str
    conf: dict[str, str]
    state: ProgramState
    drivers: int
    deaths: int
    executor: int
    executor_name: str
    text: str
    exit_code: int | None
    output: tuple[Output, ...]


RECORDS: Mapping[Kind, type[Any]] = {
    Kind.CLUSTER: ClusterRecord,
    Kind.EXECUTOR: ExecutorRecord,
    Kind.SESSION: SessionRecord,
    Kind.VERDICT: VerdictRecord,
    Kind.JOB: JobRecord,
    Kind.STAGE: StageSpec,
    Kind.WINNER: WinnerRecord,
    Kind.PROGRAM: ProgramRecord,
    Kind.PROGRAM_SPEC: ProgramSpec,
}

_encoder = msgspec.msgpack.Encoder()


@functools.cache
def _decoder(kind: Kind) -> msgspec.msgpack.Decoder[Any]:
    return msgspec.msgpack.Decoder(RECORDS[kind])


def encode_record(record: object) -> bytes:
    return _encoder.encode(record)


def decode_record(key: Key, body: bytes) -> Any:
    """The record under a key, of the type that `RECORDS` has for its kind."""
    return _decoder(key.kind).decode(body)


class Changes(NamedTuple):
    """What one turn does to the log: first whole jobs go, then single facts are replaced or go."""

    jobs_gone: Sequence[int]
    facts: Sequence[tuple[Key, bytes | None]]

    def __bool__(self) -> bool:
        return bool(self.jobs_gone or self.facts)


class LogFullError(Exception):
    """There is no room on the log's disk for what was to be written; nothing of it was."""


class JobLog(Protocol):
    """Where the facts are kept. One scheduler at a time has it."""

    def read(self) -> Iterator[tuple[Key, bytes]]:
        """All facts, by ascending key."""
        ...

    def write(self, changes: Changes) -> None:
        """All of them or none; when this returns they survive the end of this process.

        Raises `LogFullError`.
        """
        ...

    def discard(self) -> None:
        """The cluster ended in good order: nobody will want to go on from here."""
        ...

    def close(self) -> None: ...


class LogDraft:
    """The keys whose facts have changed since the shell last asked."""

    def __init__(self) -> None:
        self._touched: dict[Key, None] = {}
        self._jobs_gone: dict[int, None] = {}

    def cluster(self) -> None:
        self._touched[CLUSTER] = None

    def executor(self, index: int) -> None:
        self._touched[Key(0, Kind.EXECUTOR, index)] = None

    def session(self, number: int) -> None:
        self._touched[Key(0, Kind.SESSION, number)] = None

    def verdict(self, job: JobId) -> None:
        self._touched[Key(0, Kind.VERDICT, job.number)] = None

    def job(self, job: JobId) -> None:
        self._touched[Key(job.number, Kind.JOB)] = None

    def stage(self, job: JobId, number: int) -> None:
        self._touched[Key(job.number, Kind.STAGE, number)] = None

    def winner(self, job: int, stage: int, partition: int) -> None:
        self._touched[Key(job, Kind.WINNER, stage, partition)] = None

    def winner_of(self, attempt: AttemptId) -> None:
        self.winner(attempt.job, attempt.stage, attempt.partition)

    def program(self, program: ProgramId) -> None:
        self._touched[Key(0, Kind.PROGRAM, program.number)] = None

    def program_spec(self, program: ProgramId) -> None:
        self._touched[Key(0, Kind.PROGRAM_SPEC, program.number)] = None

    def job_gone(self, job: JobId) -> None:
        self._jobs_gone[job.number] = None

    def take(self) -> tuple[list[int], list[Key]]:
        """The jobs that are gone, and the keys that were touched of all others."""
        gone, self._jobs_gone = self._jobs_gone, {}
        touched, self._touched = self._touched, {}
        return list(gone), [key for key in touched if key.job not in gone]
