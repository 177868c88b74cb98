"""Pure: how long the finished tasks of a stage took, and how long another one should.

A task that reads ten times the rows may take ten times as long without being slow, so what is compared
is seconds per row. Rows are counted from `ROWS_AT_LEAST`: starting a task costs as much as so many.
"""

from __future__ import annotations

from array import array
from bisect import insort

ROWS_AT_LEAST = 100_000


SAMPLE_MAX = 500
"""Enough for a median. Of more successes each takes the place of another, here and there."""

_STRIDE = 211
"""Shares no factor with `SAMPLE_MAX`, so that every place has its turn."""


class Paces:
    """Seconds per row of the successes, ascending: a sample of all there were."""

    __slots__ = ("_count", "_paces", "_runs_s")

    def __init__(self) -> None:
        self._paces = array("d")
        self._count = 0
        self._runs_s = 0.0

    def add(self, run_s: float, rows: int) -> None:
        """A task that read so many rows has succeeded after `run_s`."""
        self._count += 1
        self._runs_s += run_s
        if len(self._paces) == SAMPLE_MAX:
            del self._paces[self._count * _STRIDE % SAMPLE_MAX]
        insort(self._paces, run_s / (ROWS_AT_LEAST + rows))

    @property
    def typical_s(self) -> float | None:
        """What tasks took on average, whatever they read; a few long ones make it long."""
        return self._runs_s / self._count if self._count else None

    def expected_s(self, rows: int) -> float | None:
        """What the median task would take for so many rows; None before the first success."""
        if not self._paces:
            return None
        return self._paces[len(self._paces) // 2] * (ROWS_AT_LEAST + rows)

    def fingerprint(self) -> list[object]:
        return [self._paces.tobytes(), self._count, self._runs_s]
