"""Columns of a batch as NumPy sees them, and their rows in another order."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa


def numbers_of(array: pa.Array) -> npt.NDArray[Any]:
    """A view of an Arrow array of numbers without NULLs.

    `pa.Array.to_numpy` would do the same and import pandas for it, half a second in a fresh slot.
    """
    values = np.frombuffer(array.buffers()[1] or b"", array.type.to_pandas_dtype())
    return values[array.offset : array.offset + len(array)]


def gather(batch: pa.RecordBatch, order: npt.NDArray[np.intp]) -> pa.RecordBatch:
    """The rows of `batch` in another order; `order` comes from `group_rows`, so it is in bounds."""
    if not batch.num_columns:
        return batch
    numbers = order.astype(np.uint32)
    indices = pa.Array.from_buffers(pa.uint32(), len(numbers), [None, pa.py_buffer(numbers)])
    columns = [
        _take_views(column, indices)
        if pa.types.is_binary_view(column.type)
        else _take(column, indices)
        for column in batch.columns
    ]
    return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def _take(column: pa.Array, indices: pa.Array) -> pa.Array:
    import pyarrow.compute as pc  # 85 ms that a task with one target does not need

    return pc.take(column, indices, boundscheck=False)


def _take_views(column: pa.Array, indices: pa.Array) -> pa.Array:
    """Arrow takes no views. They are 16 bytes each, and what they point to stays where it is."""
    validity, views, *data = column.buffers()
    entries = pa.Array.from_buffers(
        pa.binary(16), len(column), [validity, views], column.null_count, column.offset
    )
    taken = _take(entries, indices)
    buffers = [*taken.buffers(), *data]
    return pa.Array.from_buffers(column.type, len(taken), buffers, taken.null_count, taken.offset)
