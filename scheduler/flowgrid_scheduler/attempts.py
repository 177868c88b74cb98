"""An attempt's life, from the launch to its last word.

::

    ASSIGNED ──started──▶ RUNNING ──▶ SUCCEEDED | FAILED | CANCELLED
       │                     │
       └──────cancel─────────┴──▶ CANCELLING ──▶ SUCCEEDED | FAILED | CANCELLED
    any of the three, when its executor is fenced ──▶ LOST

An executor counts an attempt against its slots until the attempt's last word. Whether the stage
still wants that attempt is another question, and `Stage.is_current` is the only one to answer it.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import TypeAlias

from flowgrid.protocol.messages import (
    AttemptCancelled,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CancelAttempts,
    Fence,
)


class AttemptState(enum.IntEnum):
    ASSIGNED = 0
    """Launched; waits in the executor's backlog or is on its way there."""
    RUNNING = 1
    CANCELLING = 2
    """We asked to cancel; its last word has not come."""
    SUCCEEDED = 3
    FAILED = 4
    CANCELLED = 5
    LOST = 6


Word: TypeAlias = type[
    AttemptStarted | AttemptSucceeded | AttemptFailed | AttemptCancelled | CancelAttempts | Fence
]

LIVE = (AttemptState.ASSIGNED, AttemptState.RUNNING, AttemptState.CANCELLING)

TRANSITIONS: Mapping[tuple[AttemptState, Word], AttemptState] = {
    (AttemptState.ASSIGNED, AttemptStarted): AttemptState.RUNNING,
    (AttemptState.CANCELLING, AttemptStarted): AttemptState.CANCELLING,
    (AttemptState.ASSIGNED, CancelAttempts): AttemptState.CANCELLING,
    (AttemptState.RUNNING, CancelAttempts): AttemptState.CANCELLING,
    **{(state, AttemptSucceeded): AttemptState.SUCCEEDED for state in LIVE},
    **{(state, AttemptFailed): AttemptState.FAILED for state in LIVE},
    **{(state, AttemptCancelled): AttemptState.CANCELLED for state in LIVE},
    **{(state, Fence): AttemptState.LOST for state in LIVE},
}
"""What is not in here is a late or repeated word: legal, and without effect."""
