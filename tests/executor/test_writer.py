from __future__ import annotations

from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowgrid.io.blocks import BlockFileWriter
from flowgrid.protocol.fragment import BlocksLeaf, BlocksOutput, Field, RangeLeaf, RangeSplit

TABLES = st.lists(
    st.tuples(
        st.none() | st.integers(-3, 3),
        st.none() | st.text(max_size=5),
        st.none() | st.floats(),
        st.none() | st.lists(st.none() | st.integers(-(2**31), 2**31 - 1), max_size=3),
    ),
    max_size=60,
)
SCHEMA = pa.schema(
    {"k": pa.int32(), "s": pa.string(), "f": pa.float64(), "l": pa.list_(pa.int32())}
)
GIVEN = BlocksLeaf(
    "given",
    0,
    (Field("k", "INTEGER"), Field("s", "VARCHAR"), Field("f", "DOUBLE"), Field("l", "INTEGER[]")),
)


@settings(
    max_examples=25,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(rows=TABLES, target_count=st.integers(1, 9), cut=st.integers(0, 60))
def test_every_row_arrives_once_and_each_key_in_one_target(
    slot: Any, rows: list[tuple[Any, ...]], target_count: int, cut: int
) -> None:
    batch = pa.RecordBatch.from_pylist(
        [dict(zip(SCHEMA.names, r, strict=True)) for r in rows], SCHEMA
    )
    slot.file(1).unlink(missing_ok=True)
    with BlockFileWriter(slot.file(1), SCHEMA, 1) as writer:
        writer.write(0, batch.slice(0, cut))
        writer.write(0, batch.slice(cut))
        writer.finish()

    report = slot.run(
        'SELECT *, hash(k) AS "#hash" FROM given',
        [GIVEN],
        BlocksOutput(target_count, "hash", "#hash"),
        inputs=[slot.outputs(1)],
    )

    found = [slot.read(target=target).to_pylist() for target in range(target_count)]
    assert report.rows == tuple(map(len, found))
    assert report.rows_read == (len(rows),)
    together = Counter(repr(row) for target in found for row in target)
    assert together == Counter(map(repr, batch.to_pylist()))
    keys = [{row["k"] for row in target} for target in found]
    assert sum(map(len, keys)) == len(set().union(*keys))


def test_keys_of_different_widths_meet_after_a_cast(slot: Any) -> None:
    output = BlocksOutput(5, "hash", "#hash")
    numbers = RangeLeaf("numbers", "i")
    splits = {"numbers": (RangeSplit(-500, 500, 1),)}
    for stage, type_ in enumerate(("BIGINT", "INTEGER")):
        keys = f"SELECT CAST(i AS {type_}) AS i FROM numbers"
        query = f'SELECT i, hash(CAST(i AS BIGINT)) AS "#hash" FROM ({keys})'
        slot.run(query, [numbers], output, splits=splits, stage=stage)
    for target in range(5):
        wide, narrow = (slot.read(stage, target=target).column("i").to_pylist() for stage in (0, 1))
        assert wide == narrow != []


@pytest.mark.parametrize("target_count", [1, 3, 500])
def test_rows_keep_their_order_inside_each_target(slot: Any, target_count: int) -> None:
    splits = {"numbers": (RangeSplit(0, 300_000, 1),)}
    output = BlocksOutput(target_count, "round_robin" if target_count > 1 else "single")
    query = "SELECT i, repeat('x', (i % 9)::INTEGER) AS s FROM numbers"
    report = slot.run(query, [RangeLeaf("numbers", "i")], output, splits=splits)
    assert sum(report.rows) == 300_000
    for target in (0, target_count - 1):
        table = slot.read(target=target)
        assert table.column_names == ["i", "s"]
        assert table.column("i").to_pylist() == list(range(target, 300_000, target_count))
        assert table.slice(0, 4).column("s").to_pylist() == [
            "x" * ((target + n * target_count) % 9) for n in range(4)
        ]


def test_strings_of_many_megabytes_pass(slot: Any) -> None:
    strings = "SELECT i, repeat(chr((65 + i)::INTEGER), 20000000) AS s FROM range(5) t(i)"
    query = f'SELECT *, hash(i) AS "#hash" FROM ({strings})'
    report = slot.run(query, output=BlocksOutput(2, "hash", "#hash"))
    assert sum(report.bytes) > 100_000_000
    found = [row for target in (0, 1) for row in slot.read(target=target).to_pylist()]
    assert {row["i"]: (len(row["s"]), row["s"][-1]) for row in found} == {
        i: (20_000_000, chr(65 + i)) for i in range(5)
    }


def test_a_row_without_a_hash_fails_the_attempt_by_name(slot: Any) -> None:
    failure = slot.fails("SELECT NULL::UBIGINT AS h", output=BlocksOutput(2, "hash", "h"))
    assert "a hash of the keys is NULL" in failure.message
