"""Rows to ranges of a sort: exact, and by whole columns.

Sort keys are bytes that compare as the rows do. Some of them and how many there are make one number, so
that most rows find their range by one binary search over numbers; where a row agrees with a bound so
far, the next bytes decide, and for the last few rows the whole keys.
"""

from __future__ import annotations

import bisect

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flowgrid_executor.shuffle.columns import numbers_of

_Numbers = npt.NDArray[np.uint64]
_Rows = npt.NDArray[np.intp]

_BYTES_PER_LOOK = 5
_MORE = np.uint64(_BYTES_PER_LOOK + 1)
"""In a number's lowest byte: the key goes on. Less is how many of the bytes there were."""

_BOUND_SHIFT = np.uint64(48)
"""Above the bytes a number says with which bound, of at most 2**16, its key agrees so far."""

_KEPT_BYTES = np.array(
    [(1 << 40) - (1 << 8 * (5 - kept)) for kept in range(_BYTES_PER_LOOK + 1)] + [(1 << 40) - 1],
    np.uint64,
)

_WORTH_A_LOOK = 64
_DEPTH_MAX = 50 * _BYTES_PER_LOOK

_CELLS = 1 << 12
"""What lies between the first bound and the last is cut into at most so many."""


class RangeBounds:
    """The keys at which ranges begin, all but the first: range n has the keys from bound n - 1 on.

    Keys are binary, or BIGINT where the kernel needs no more; there is never a NULL among them.
    """

    def __init__(self, bounds: pa.Array) -> None:
        """`bounds` are in order; equal ones leave ranges empty."""
        self._bounds = bounds
        self._values = bounds.to_pylist()

    def targets(self, column: pa.Array) -> npt.NDArray[np.int64]:
        """How many bounds are not above each of the keys."""
        if pa.types.is_integer(column.type):
            return np.searchsorted(self._values, numbers_of(column), side="right")
        limits = _Keys(self._bounds.cast(pa.large_binary()))
        keys = _Keys(column.cast(pa.large_binary()))
        found = np.zeros(len(column), np.int64)
        rows = np.arange(len(column) if self._values else 0)
        every = np.arange(len(self._values))
        agreeing = np.zeros(len(every), np.uint64)  # which bounds are the same so far
        agrees_with = np.zeros(len(rows), np.uint64)  # and with which of them each row is
        depth = 0
        while len(rows) > _WORTH_A_LOOK and depth < _DEPTH_MAX:
            bounds = limits.numbers(every, depth) | agreeing << _BOUND_SHIFT
            numbers = keys.numbers(rows, depth) | agrees_with << _BOUND_SHIFT
            found[rows] = above = ranks(bounds, numbers)
            tied = (bounds[above - 1] == numbers) & (above > 0)
            tied &= (numbers & np.uint64(255)) == _MORE
            rows, above = rows[tied], above[tied]
            agreeing = np.searchsorted(bounds, bounds).astype(np.uint64)
            agrees_with = agreeing[above - 1]
            depth += _BYTES_PER_LOOK
        for row in rows.tolist():
            found[row] = bisect.bisect_right(self._values, column[row].as_py())
        return found


def ranks(bounds: _Numbers, numbers: _Numbers) -> _Rows:
    """How many of the sorted `bounds` are not above each of the numbers.

    A binary search takes a wrong turn at every other bound, which costs most of its time. So only
    numbers that share a cell with a bound are searched for; of the others the cell is enough.
    """
    low, high = bounds[0], bounds[-1]
    shift = np.uint64(max(0, int(high - low).bit_length() - _CELLS.bit_length() + 1))
    cells = (np.clip(numbers, low, high) - low) >> shift
    starts = low + (np.arange(int((high - low) >> shift) + 1, dtype=np.uint64) << shift)
    below = np.searchsorted(bounds, starts)
    shared = np.diff(below, append=len(bounds)) > 0
    found: _Rows = below[cells]
    searched = np.flatnonzero(shared[cells])
    found[searched] = np.searchsorted(bounds, numbers[searched], side="right")
    return found


class _Keys:
    """Binary values, to be looked at some bytes at a time."""

    def __init__(self, values: pa.LargeBinaryArray) -> None:
        _, offsets, data = values.buffers()
        ends = np.frombuffer(offsets or bytes(8), np.int64)[values.offset :][: len(values) + 1]
        size = int(ends[-1] - ends[0])
        # Eight bytes are loaded wherever a key begins, so the last ones need some behind them.
        padded = np.zeros(size + 8, np.uint8)
        if size:
            padded[:size] = np.frombuffer(data, np.uint8, size, int(ends[0]))
        self._ends = ends - ends[0]
        self._loads = np.ndarray((size + 1,), ">u8", padded.data, strides=(1,))

    def numbers(self, rows: _Rows, depth: int) -> _Numbers:
        """What compares as the keys of `rows` do from byte `depth` on, as far as it goes."""
        stops = self._ends[rows + 1]
        starts = np.minimum(self._ends[rows] + depth, stops)
        lengths = np.minimum(stops - starts, int(_MORE))
        kept = self._loads[starts].astype(np.uint64) >> np.uint64(24) & _KEPT_BYTES[lengths]
        numbers: _Numbers = kept << np.uint64(8) | lengths.astype(np.uint64)
        return numbers
