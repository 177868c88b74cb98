from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pyarrow as pa
import pytest
from flowgrid_executor.kernels.kernel import Guard, Rescannable

SCHEMA = pa.schema({"a": pa.int64()})


class LostBlockError(Exception):
    """Something with a type that must not get lost."""


def batches(fail: bool = False) -> Iterator[pa.RecordBatch]:
    yield pa.record_batch({"a": [1, 2]}, schema=SCHEMA)
    if fail:
        raise LostBlockError("block 7")
    yield pa.record_batch({"a": [3]}, schema=SCHEMA)


def test_an_error_keeps_its_type_beside_a_query_that_only_knows_text() -> None:
    guard = Guard()
    with duckdb.connect() as kernel:
        kernel.register("got", guard.reader(SCHEMA, batches(fail=True)))
        with pytest.raises(Exception, match="block 7") as caught:
            kernel.sql("SELECT sum(a) FROM got").fetchall()
    assert not isinstance(caught.value, LostBlockError)
    assert isinstance(guard.raised, LostBlockError)


def test_the_first_error_is_the_one_that_counts() -> None:
    guard = Guard()
    for text in ("first", "second"):

        def failing(text: str = text) -> Iterator[pa.RecordBatch]:
            raise LostBlockError(text)
            yield

        with pytest.raises(LostBlockError):
            list(guard.watch(failing()))
    assert str(guard.raised) == "first"


def test_a_relation_is_scanned_as_often_as_a_query_names_it_and_never_before() -> None:
    scans = []

    def scan() -> Iterator[pa.RecordBatch]:
        scans.append(True)
        return batches()

    relation = Rescannable(Guard(), SCHEMA, scan)
    with duckdb.connect() as kernel:
        kernel.register("got", relation)
        query = kernel.sql("SELECT count(*) FROM got x JOIN got y ON x.a = y.a")
        assert query.columns == ["count_star()"]
        assert scans == []
        assert query.fetchall() == [(3,)]
    assert len(scans) == 2
