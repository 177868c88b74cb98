"""Rows multiplied, sampled, laid out, and handed to the user's code."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pyarrow as pa
import pytest

import flowgrid as fg
from flowgrid.api.session import Session


def test_a_union_matches_columns_by_name(session: Session) -> None:
    a, b = session.from_pylist([{"x": 1, "y": "p"}]), session.from_pylist([{"Y": "q", "x": 2}])

    assert a.union(b).to_pylist() == [{"x": 1, "y": "p"}, {"x": 2, "y": "q"}]
    with pytest.raises(fg.PlanError, match=r"lacks columns \['y'\] and has others \['id'\]"):
        a.union(session.range(3).with_columns(x="id"))


def test_explode_keeps_rows_of_empty_lists(session: Session) -> None:
    frame = session.from_pylist([{"k": 1, "l": [1, 2]}, {"k": 2, "l": []}, {"k": 3, "l": None}])

    found = frame.explode("L").sort("k", "l").to_pylist()

    assert [(row["k"], row["l"]) for row in found] == [(1, 1), (1, 2), (2, None), (3, None)]


def test_unpivot_makes_rows_of_columns(session: Session) -> None:
    frame = session.from_pylist([{"k": "x", "a": 1, "b": 2.5}, {"k": "y", "a": 3, "b": None}])

    found = frame.unpivot(index="k", variable_name="name", value_name="v").sort("k", "name")

    assert [tuple(row.values()) for row in found.to_pylist()] == [
        ("x", "a", 1.0), ("x", "b", 2.5), ("y", "a", 3.0), ("y", "b", None),
    ]  # fmt: skip
    assert frame.unpivot("a").columns == ["variable", "value"]
    with pytest.raises(fg.ColumnNotFoundError, match="unpivot"):
        frame.unpivot("c")


def test_a_sample_needs_a_share_and_remembers_its_seed(session: Session) -> None:
    frame = session.range(10)

    assert frame.sample(0.5, seed=7).explain().startswith("Sample 0.5 seed 7")
    assert frame.sample(0.5).explain() != frame.sample(0.5).explain()
    with pytest.raises(fg.PlanError, match="between 0 and 1"):
        frame.sample(2)


def test_repartition_keeps_all_rows(session: Session) -> None:
    frame = session.range(10)

    assert frame.repartition(4, "id % 2").count() == 10
    assert frame.repartition(4, "id").explain().startswith('Repartition 4 by "id"')
    with pytest.raises(fg.PlanError, match="at least 1"):
        frame.repartition(0)


def test_user_functions_see_batches_of_the_size_asked_for(session: Session) -> None:
    def describe(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({"rows": pa.array([batch.num_rows], pa.int64())})

    found = session.range(10).map_batches(describe, {"rows": int}, batch_rows=4)

    assert found.collect()["rows"].to_pylist() == [4, 4, 2]
    assert found.explain().startswith("MapBatches ")
    assert "describe [rows]" in found.explain()


def test_the_schema_of_a_user_function_may_be_arrow(session: Session) -> None:
    schema = pa.schema({"id": pa.int64(), "s": pa.struct({"a": pa.int32()})})

    frame = session.range(1).map_batches(lambda batch: batch, schema)

    assert repr(frame) == "DataFrame[id: BIGINT, s: STRUCT(a INTEGER)]"


def test_a_function_that_cannot_travel_is_refused(session: Session) -> None:
    lock = threading.Lock()

    def guarded(batch: pa.RecordBatch) -> pa.RecordBatch:
        with lock:
            return batch

    with pytest.raises(fg.PlanError, match="cannot be sent to executors"):
        session.range(1).map_batches(guarded, {"id": int})
