"""Programs that the cluster itself runs: what is submitted, its drivers, and what they print.

A program is run by one driver at a time, a process on an executor. A driver that dies is followed by
another one; what they print is one stream, in which every piece knows its driver and its place.
"""

from __future__ import annotations

import enum
from typing import TypeAlias

import msgspec

from flowgrid.ids import DriverId, ProgramId

ARCHIVE_BYTES_MAX = 16 << 20
"""Files that travel with a program, packed. They pass through the scheduler, which keeps them in its log
until the program has ended; more belongs on a file system that executors can read."""


class ProgramSpec(msgspec.Struct, frozen=True):
    """What was submitted: `archive` is a tar file, `entry` the path in there that Python runs."""

    name: str
    entry: str
    arguments: tuple[str, ...]
    conf: dict[str, str]
    archive: bytes


class ProgramState(enum.StrEnum):
    WAITING = "waiting"
    """For an executor that starts its driver."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    """Its driver ended with exit code 0."""
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def final(self) -> bool:
        return self not in (ProgramState.WAITING, ProgramState.RUNNING)


class Output(msgspec.Struct, frozen=True, array_like=True):
    """Bytes that a driver printed, to its standard output or as errors. `offset` counts both."""

    driver: DriverId
    offset: int
    data: bytes
    error: bool = False

    @property
    def end(self) -> int:
        return self.offset + len(self.data)


# -- to the scheduler, without a session -----------------------------------------------------------


class SubmitProgram(msgspec.Struct, frozen=True, tag=True):
    """Answered by `ProgramStatus`, or `ProgramRefused`. `token` is random: twice is once."""

    token: str
    spec: ProgramSpec


class AskProgram(msgspec.Struct, frozen=True, tag=True):
    """What has become of it, and what did it print after byte `offset` of driver `driver`?"""

    program: ProgramId
    driver: int
    offset: int


class CancelProgram(msgspec.Struct, frozen=True, tag=True):
    program: ProgramId


ProgramQuestion: TypeAlias = SubmitProgram | AskProgram | CancelProgram


# -- from the scheduler ----------------------------------------------------------------------------


class ProgramStatus(msgspec.Struct, frozen=True, tag=True):
    """`driver` counts from 0, -1 before the first; `text` says why it waits, or how it ended.

    `exit_code` is the driver's own, if it ended by itself.
    """

    program: ProgramId
    name: str
    state: ProgramState
    driver: int
    executor: str
    text: str
    exit_code: int | None = None
    output: tuple[Output, ...] = ()


class ProgramRefused(msgspec.Struct, frozen=True, tag=True):
    reason: str


ProgramAnswer: TypeAlias = ProgramStatus | ProgramRefused


# -- between scheduler and executors ---------------------------------------------------------------


class StartDriver(msgspec.Struct, frozen=True, tag=True):
    driver: DriverId
    spec: ProgramSpec


class EndDriver(msgspec.Struct, frozen=True, tag=True):
    """Kill it if it still runs, and forget it: its end is known, or nobody wants it any more."""

    driver: DriverId


class OutputTaken(msgspec.Struct, frozen=True, tag=True):
    """What the driver printed before `offset` has been taken: it may print more."""

    driver: DriverId
    offset: int


DriverOrder: TypeAlias = StartDriver | EndDriver | OutputTaken


class DriverPrinted(msgspec.Struct, frozen=True, tag=True):
    output: Output


class DriverEnded(msgspec.Struct, frozen=True, tag=True):
    """`exit_code` as Python has it: below 0 it is a signal. `error` is why it could not be started."""

    driver: DriverId
    exit_code: int
    error: str = ""


DriverWord: TypeAlias = DriverPrinted | DriverEnded


class HeldDriver(msgspec.Struct, frozen=True, array_like=True):
    """A driver that an executor answers a roll call with: it runs, or how it ended; and what it printed
    last."""

    driver: DriverId
    ended: DriverEnded | None
    output: tuple[Output, ...]
