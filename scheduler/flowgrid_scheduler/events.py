"""Everything that can happen to the scheduler: words of peers, silence of links, passing of time.

Events are the wire messages themselves, so that the journal is a replay file.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from flowgrid.ids import ExecutorId
from flowgrid.protocol.messages import DriverEnvelope, ExecutorEnvelope, Heartbeat


class ExecutorUnreachable(msgspec.Struct, frozen=True):
    """The executor's connection is closed and stayed closed."""

    executor: ExecutorId


class SessionUnreachable(msgspec.Struct, frozen=True):
    """The driver's connection is closed and stayed closed."""

    session: str


class Tick(msgspec.Struct, frozen=True):
    """`next_deadline` has passed."""


Event: TypeAlias = (
    DriverEnvelope | ExecutorEnvelope | Heartbeat | ExecutorUnreachable | SessionUnreachable | Tick
)
