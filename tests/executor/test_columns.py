from __future__ import annotations

import numpy as np
import pyarrow as pa
from flowgrid_executor.shuffle.columns import gather, numbers_of


def test_numbers_are_those_of_the_slice_and_no_copy() -> None:
    column = pa.array(range(10), pa.int32()).slice(3, 4)
    numbers = numbers_of(column)
    assert numbers.tolist() == [3, 4, 5, 6]
    assert not numbers.flags.owndata


def test_rows_are_gathered_in_the_order_asked_for() -> None:
    batch = pa.record_batch(
        {"a": [1, None, 3], "b": ["x", "a longer text than is kept inline", None]}
    )
    found = gather(batch, np.array([2, 0, 1]))
    assert found.to_pydict() == {
        "a": [3, 1, None],
        "b": [None, "x", "a longer text than is kept inline"],
    }


def test_views_are_gathered_without_what_they_point_to() -> None:
    long = b"longer than the twelve bytes that a view has itself"
    views = pa.array([b"first", None, long, b""], pa.binary_view())
    batch = pa.record_batch({"a": views.slice(1)})
    found = gather(batch, np.array([1, 2, 0, 1]))
    assert found.schema == batch.schema
    assert found.column("a").to_pylist() == [long, b"", None, long]
    assert found.column("a").buffers()[2].address == views.buffers()[2].address
