"""Everything that can happen to an executor, and everything it can ask for.

What comes from the scheduler and from the template is an event as it is; what goes to the template is an
action as it is. Events are past tense or requests of the scheduler; actions are imperative.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from flowgrid.ids import AttemptId, JobId
from flowgrid.protocol.job_graph import ExecutorAddress
from flowgrid.protocol.messages import FromExecutor, ToExecutor
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
    slot: int
    answer: FromSlot


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
    """Time has passed."""


Event: TypeAlias = (
    ToExecutor
    | SlotForked
    | SlotAnswered
    | SlotHungUp
    | SlotDied
    | TemplateDied
    | SchedulerHeard
    | LinkBroken
    | StopRequested
    | BlocksFetched
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
    """Copy the attempt's block file from another executor, and say when it has ended."""

    attempt: AttemptId
    source: ExecutorAddress


class DropBlocks(msgspec.Struct, frozen=True):
    """Delete what the attempt wrote, complete or not."""

    attempt: AttemptId


class DropJobBlocks(msgspec.Struct, frozen=True):
    job: JobId


class DropAllBlocks(msgspec.Struct, frozen=True):
    pass


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
    | ClearSpill
    | Rejoin
    | AnswerRollCall
    | SendHeartbeats
    | Exit
)
