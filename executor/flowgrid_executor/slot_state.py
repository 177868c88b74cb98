"""What a slot is doing."""

from __future__ import annotations

import dataclasses
import enum

from flowgrid.ids import AttemptId


class SlotState(enum.Enum):
    """A slot's life: forking → idle ⇄ running; running → dying when cancelled; dead → forking again.

    Resting is the pause before the fork of a slot that died idle.
    """

    FORKING = enum.auto()
    IDLE = enum.auto()
    RUNNING = enum.auto()
    DYING = enum.auto()
    RESTING = enum.auto()


@dataclasses.dataclass(slots=True)
class Slot:
    number: int
    state: SlotState = SlotState.FORKING
    attempt: AttemptId | None = None
    hung_up: bool = False
    rests_until: float = 0.0
    began_at: float = 0.0
