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
    narrow = targets.astype(np.min_scalar_type(max(target_count - 1, 0)), copy=False)
    order = np.argsort(narrow, kind="stable")
    counts = np.bincount(targets, minlength=target_count)
    return Grouping(order, np.concatenate(([0], np.cumsum(counts))))


def hash_targets(hashes: npt.NDArray[np.uint64], target_count: int) -> npt.NDArray[np.int64]:
    """Targets by the high bits of a 64-bit hash; the kernel's hash tables use the low ones."""
    high = hashes >> np.uint64(32)
    return ((high * np.uint64(target_count)) >> np.uint64(32)).astype(np.int64)


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

    def targets(self, batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
        """One target per row. Raises ValueError for a NULL or a wrong target."""
        count = self._output.target_count
        match self._output.partitioning:
            case "hash":
                return hash_targets(_column(batch, self._output.column, pa.uint64()), count)
            case "range" if self._ranges is not None:
                return self._ranges.targets(batch.column(self._output.column))
            case "target":
                return _column(batch, self._output.column, pa.int64())
            case "round_robin":
                targets = (np.arange(batch.num_rows, dtype=np.int64) + self._next) % count
                self._next = (self._next + batch.num_rows) % count
                return targets
        raise ValueError(f"unknown partitioning {self._output.partitioning!r}")


def _column(batch: pa.RecordBatch, name: str, type_: pa.DataType) -> npt.NDArray[Any]:
    column = batch.column(name)
    if column.null_count:
        raise ValueError(f"column {name!r} says NULL where a row's target should be")
    return numbers_of(column.cast(type_))
