"""Rows to target partitions: the same on every machine and in every attempt."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flowgrid.protocol.fragment import BlocksOutput
from flowgrid_executor.shuffle.columns import numbers_of
from flowgrid_executor.shuffle.ranges import RangeBounds


class Grouping(NamedTuple):
    """Row numbers sorted by target; the rows of target t are ``order[bounds[t]:bounds[t + 1]]``."""

    order: npt.NDArray[np.intp]
    bounds: npt.NDArray[np.intp]


def group_rows(targets: npt.NDArray[np.integer], target_count: int) -> Grouping:
    """Group rows by target, in their own order inside each. Raises ValueError for a wrong target."""
    if len(targets) and not 0 <= int(targets.min()) <= int(targets.max()) < target_count:
        raise ValueError(f"a row's target is outside 0 … {target_count - 1}")
    # NumPy sorts integers of up to 16 bits by radix, which is several times faster than by comparison.
    narrow = targets.astype(_narrowest(target_count), copy=False)
    order = np.argsort(narrow, kind="stable")
    bounds = np.searchsorted(narrow.take(order), np.arange(target_count + 1))
    return Grouping(order, bounds)


def hash_targets(hashes: npt.NDArray[np.uint64], target_count: int) -> npt.NDArray[np.integer]:
    """Targets by the high bits of a 64-bit hash; the kernel's hash tables use the low ones."""
    targets = hashes >> np.uint64(32)
    targets *= np.uint64(target_count)
    targets >>= np.uint64(32)
    return targets.astype(_narrowest(target_count))


def _narrowest(target_count: int) -> np.dtype[np.unsignedinteger]:
    return np.min_scalar_type(max(target_count - 1, 0))


class Partitioner:
    """Targets for the batches of one task, in the order in which they come."""

    def __init__(
        self, output: BlocksOutput, partition: int, bounds: pa.Array | None = None
    ) -> None:
        """`bounds` are the sort keys at which ranges begin, if rows go to ranges."""
        self._output = output
        self._ranges = RangeBounds(bounds) if bounds is not None else None
        # Tasks begin with different targets, so that many small inputs still fill all targets.
        self._next = partition % output.target_count

    def targets(self, batch: pa.RecordBatch) -> npt.NDArray[np.integer]:
        """One target per row. Raises ValueError for a hash that is NULL."""
        count = self._output.target_count
        match self._output.partitioning:
            case "hash":
                return hash_targets(_hashes(batch.column(self._output.column)), count)
            case "range" if self._ranges is not None:
                return self._ranges.targets(batch.column(self._output.column))
            case "round_robin":
                targets = (np.arange(batch.num_rows, dtype=np.int64) + self._next) % count
                self._next = (self._next + batch.num_rows) % count
                return targets
        raise ValueError(f"unknown partitioning {self._output.partitioning!r}")


def _hashes(column: pa.Array) -> npt.NDArray[Any]:
    if column.null_count:
        raise ValueError("a hash of the keys is NULL")
    return numbers_of(column.cast(pa.uint64()))
