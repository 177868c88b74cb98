"""Pure: how long the finished tasks of a stage took, and how long another one should.

A task that reads ten times the rows may take ten times as long without being slow, so what is compared
is seconds per row. Rows are counted from `ROWS_AT_LEAST`: starting a task costs as much as so many.
"""

from __future__ import annotations

from array import array
from bisect import insort

ROWS_AT_LEAST = 100_000


class Paces:
    """Seconds per row of every success, ascending: 8 bytes each."""

    __slots__ = ("_paces",)

    def __init__(self) -> None:
        self._paces = array("d")

    def add(self, run_s: float, rows: int) -> None:
        """A task that read so many rows has succeeded after `run_s`."""
        insort(self._paces, run_s / (ROWS_AT_LEAST + rows))

    def expected_s(self, rows: int) -> float | None:
        """What the median task would take for so many rows; None before the first success."""
        if not self._paces:
            return None
        return self._paces[len(self._paces) // 2] * (ROWS_AT_LEAST + rows)

    def fingerprint(self) -> bytes:
        return self._paces.tobytes()
