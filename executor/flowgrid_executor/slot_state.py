"""What a slot is doing, and what the slots of an executor are doing together."""

from __future__ import annotations

import enum
from collections.abc import Sequence

import msgspec

from flowgrid.ids import AttemptId
from flowgrid_executor.backlog import Waiting

MOMENT_S = 1.0
"""What runs for longer is reported with every heartbeat."""


class SlotState(enum.Enum):
    """A slot's life: forking → idle ⇄ running; running → dying when cancelled or over its share of
    memory, idle → dying when it holds too much of it; dead → forking again.

    Resting is the pause before the fork of a slot that died idle, by itself.
    """

    FORKING = enum.auto()
    IDLE = enum.auto()
    RUNNING = enum.auto()
    DYING = enum.auto()
    RESTING = enum.auto()


class Slot(msgspec.Struct):
    number: int
    state: SlotState = SlotState.FORKING
    work: Waiting | None = None
    overrun: str = ""
    """What it did, if it is killed because memory ran out."""
    held_bytes: int = 0
    """Memory that it kept after its last attempt."""
    hung_up: bool = False
    rests_until: float = 0.0
    began_at: float = 0.0

    @property
    def attempt(self) -> AttemptId | None:
        return self.work.attempt if self.work is not None else None

    def dies(self) -> Waiting | None:
        """Its process is dead, and another is to be forked; what it was running."""
        work, self.work, self.overrun = self.work, None, ""
        self.state, self.held_bytes, self.hung_up = SlotState.FORKING, 0, False
        return work


def running(slots: Sequence[Slot], now: float) -> list[tuple[int, AttemptId, float]]:
    """(slot, attempt, seconds) of every attempt that runs for more than a moment."""
    return [
        (slot.number, slot.attempt, now - slot.began_at)
        for slot in slots
        if slot.attempt is not None and now - slot.began_at >= MOMENT_S
    ]


def may_begin(slots: Sequence[Slot], alone: bool) -> bool:
    """Nothing runs beside an attempt that needs all of the memory, and nothing is about to die."""
    if alone:
        return not any(s.work is not None or s.state is SlotState.DYING for s in slots)
    return not any(s.work is not None and s.work.alone for s in slots)
