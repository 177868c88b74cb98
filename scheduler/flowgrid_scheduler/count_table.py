"""Counts by producer partition and target, in as few bytes each as the largest of them needs.

A shuffle has as many counts as it has maps times reduces, and the scheduler holds nothing else of
that size. What is asked most often, the sums by target, is kept beside them.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from operator import add, sub

_WIDTHS = "BHIQ"


class CountTable:
    """One row per partition, one column per target; all zero at first."""

    __slots__ = ("_cells", "_columns", "_rows", "sums")

    def __init__(self, rows: int, columns: int) -> None:
        self._rows = rows
        self._columns = columns
        self._cells = array("B", [0]) * (rows * columns)
        self.sums = [0] * columns
        """Of every column, over all rows."""

    def put(self, row: int, counts: Sequence[int]) -> None:
        """Replace a row. Counts are at least 0, and as many as there are columns."""
        try:
            self._put(row, counts)
        except OverflowError:
            self._widen(max(counts))
            self._put(row, counts)

    def _put(self, row: int, counts: Sequence[int]) -> None:
        cells = self._cells
        if self._columns == 1:
            count = cells[row]
            cells[row] = counts[0]
            self.sums[0] += counts[0] - count
        else:
            place = self._place(row, row + 1)
            before = cells[place]
            cells[place] = array(cells.typecode, counts)
            sums = map(add, self.sums, counts)
            self.sums = list(map(sub, sums, before) if any(before) else sums)

    def _widen(self, count: int) -> None:
        wider = _narrowest(count)
        if any(self.sums):
            self._cells = array(wider, self._cells)
        else:
            self._cells = array(wider, [0]) * len(self._cells)

    def row(self, row: int) -> array[int]:
        return self._cells[self._place(row, row + 1)]

    def total(self, rows: range, columns: range) -> int:
        """The sum of a rectangle of both."""
        if len(rows) == self._rows:
            return sum(self.sums[columns.start : columns.stop])
        if len(columns) == self._columns:
            return sum(self._cells[self._place(rows.start, rows.stop)])
        first, stop = rows.start * self._columns, rows.stop * self._columns
        return sum(sum(self._cells[first + column : stop : self._columns]) for column in columns)

    def _place(self, first: int, stop: int) -> slice:
        return slice(first * self._columns, stop * self._columns)

    def fingerprint(self) -> bytes:
        """The same for the same counts, whatever was there before."""
        return array("Q", self._cells).tobytes()


def pack(counts: array[int]) -> bytes:
    """Counts as few bytes: the letter of a width, then each of them as wide."""
    width = _narrowest(max(counts, default=0))
    cells = counts if counts.typecode == width else array(width, counts)
    return width.encode() + cells.tobytes()


def unpack(packed: bytes) -> array[int]:
    """The counts that `pack` was given."""
    return array(chr(packed[0]), packed[1:])


def _narrowest(count: int) -> str:
    return next(width for width in _WIDTHS if count < 1 << 8 * array(width).itemsize)
