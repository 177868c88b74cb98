"""Time as far as this process was awake to see it.

A scheduler that was stopped for half a minute has heard nobody for half a minute, and nobody is to
blame. So silence is never measured by the clock on the wall but by this one, which takes at most
`STEP_MAX_S` of any gap between two events. While anybody is watched there is an event at least every
`TICK_S`, so that an awake scheduler loses no time.
"""

from __future__ import annotations

TICK_S = 0.25
STEP_MAX_S = 1.0


class PatientClock:
    """`awake_s` counts from 0 and never jumps."""

    def __init__(self) -> None:
        self.awake_s = 0.0
        self._last: float | None = None
        self._ticked_at = float("-inf")

    def advance(self, now: float) -> None:
        """Take note of an event at `now`, in seconds of any monotonic clock."""
        if self._last is not None:
            self.awake_s += min(max(now - self._last, 0.0), STEP_MAX_S)
        self._last = now

    def tick(self, now: float) -> None:
        """Take note that silence was checked."""
        self._ticked_at = now

    def next_tick(self) -> float:
        """When silence must be checked next, however much is being said by others."""
        return self._ticked_at + TICK_S
