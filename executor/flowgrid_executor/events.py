"""Everything that can happen to an executor, and everything it can ask for.

What comes from the scheduler and from the template is an event as it is; what goes to the template is an
action as it is. Events are past tense or requests of the scheduler; actions are imperative.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from flowgrid.ids import AttemptId, DriverId, JobId
from flowgrid.protocol.job_graph import ExecutorAddress
from flowgrid.protocol.messages import FromExecutor, ToExecutor
from flowgrid.protocol.programs import HeldDriver, ProgramSpec
from flowgrid.protocol.reports import HeldAttempt
from flowgrid_executor.slot_protocol import (
    ForkSlot,
    FromSlot,
    KillSlot,
    RunAttempt,
    SlotDied,
    SlotForked,
)

# -- events ----------------------------------------------------------------------------------------


class SlotAnswered(msgspec.Struct, frozen=True):
    """`held_bytes` is what its process still holds when the attempt has ended."""

    slot: int
    answer: FromSlot
    held_bytes: int = 0


class SlotOverran(msgspec.Struct, frozen=True):
    """The attempt in a slot uses more memory than it was given."""

    slot: int
    attempt: AttemptId
    used_bytes: int


class SlotHungUp(msgspec.Struct, frozen=True):
    """The slot's socket is closed; mostly its death follows, but user code can close anything."""

    slot: int


class TemplateDied(msgspec.Struct, frozen=True):
    """The template is gone, and the kernel of the system killed its slots with it."""

    exit_code: int


class SchedulerHeard(msgspec.Struct, frozen=True):
    """A sign of life without content."""


class LinkBroken(msgspec.Struct, frozen=True):
    """Something was lost between scheduler and executor: a gap in the sequence, a full outbox."""

    reason: str


class StopRequested(msgspec.Struct, frozen=True):
    """A signal, or the owner is gone."""

    reason: str


class BlocksFetched(msgspec.Struct, frozen=True):
    """A `FetchBlocks` has ended; `error` is why it failed, or ""."""

    attempt: AttemptId
    error: str = ""


class Tick(msgspec.Struct, frozen=True):
    """Time has passed. `room` is how much of each local directory's file system is free, from 0 to 1."""

    room: tuple[float, ...] = ()


class DriverSpoke(msgspec.Struct, frozen=True):
    """The driver printed; nothing more is read before `ReadDriver`."""

    driver: DriverId
    data: bytes
    error: bool


class DriverExited(msgspec.Struct, frozen=True):
    """Its process, with all that it started, is dead and its folder gone; `exit_code` below 0 is a
    signal. `reason` is why it could not be started."""

    driver: DriverId
    exit_code: int
    reason: str = ""


Event: TypeAlias = (
    ToExecutor
    | SlotForked
    | SlotAnswered
    | SlotOverran
    | SlotHungUp
    | SlotDied
    | TemplateDied
    | SchedulerHeard
    | LinkBroken
    | StopRequested
    | BlocksFetched
    | DriverSpoke
    | DriverExited
    | Tick
)

# -- actions ---------------------------------------------------------------------------------------


class Send(msgspec.Struct, frozen=True):
    """To the scheduler, on the control link; one turn's messages share an envelope."""

    message: FromExecutor


class StartTemplate(msgspec.Struct, frozen=True):
    pass


class RunInSlot(msgspec.Struct, frozen=True):
    slot: int
    request: RunAttempt


class KeepBlocks(msgspec.Struct, frozen=True):
    """The attempt succeeded: its block file counts as held."""

    attempt: AttemptId


class FetchBlocks(msgspec.Struct, frozen=True):
    """Copy the attempt's block file from another executor into a local directory, and say when it has
    ended."""

    attempt: AttemptId
    source: ExecutorAddress
    directory: str


class DropBlocks(msgspec.Struct, frozen=True):
    """Delete what the attempt wrote, complete or not."""

    attempt: AttemptId


class DropJobBlocks(msgspec.Struct, frozen=True):
    job: JobId


class DropAllBlocks(msgspec.Struct, frozen=True):
    pass


class ExcludeDirectory(msgspec.Struct, frozen=True):
    """Nothing is written to this local directory any more: tell people why."""

    directory: str
    reason: str


class RunDriver(msgspec.Struct, frozen=True):
    driver: DriverId
    spec: ProgramSpec


class KillDriver(msgspec.Struct, frozen=True):
    """With all that it started."""

    driver: DriverId


class ReadDriver(msgspec.Struct, frozen=True):
    """Go on reading what the driver prints."""

    driver: DriverId


class ClearSpill(msgspec.Struct, frozen=True):
    """The slot's process is gone; so is the use of what it spilled."""

    slot: int


class Rejoin(msgspec.Struct, frozen=True):
    """Register as a new incarnation, over new sockets."""

    reason: str


class AnswerRollCall(msgspec.Struct, frozen=True):
    """Register with the next scheduler, over the same sockets, and claim what is held here. Words that
    were for its predecessor go nowhere."""

    held: tuple[HeldAttempt, ...]
    drivers: tuple[HeldDriver, ...] = ()


class SendHeartbeats(msgspec.Struct, frozen=True):
    """From now on, to this address."""

    address: str


class Exit(msgspec.Struct, frozen=True):
    """`refused` tells a scheduler that does not want us from an end in good order."""

    reason: str
    refused: bool = False


Action: TypeAlias = (
    Send
    | StartTemplate
    | ForkSlot
    | KillSlot
    | RunInSlot
    | KeepBlocks
    | FetchBlocks
    | DropBlocks
    | DropJobBlocks
    | DropAllBlocks
    | ExcludeDirectory
    | RunDriver
    | KillDriver
    | ReadDriver
    | ClearSpill
    | Rejoin
    | AnswerRollCall
    | SendHeartbeats
    | Exit
)
