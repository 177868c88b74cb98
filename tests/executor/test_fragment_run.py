from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import duckdb
import pyarrow as pa
import pyarrow.compute as pc
import pytest
import zmq

from flowgrid.ids import ExecutorId
from flowgrid.protocol.failures import FailureKind, FetchCause
from flowgrid.protocol.fragment import (
    BlocksLeaf,
    BlocksOutput,
    Field,
    PythonStep,
    RangeLeaf,
    RangeSplit,
    SqlStep,
)
from flowgrid.protocol.job_graph import NOTHING, ExecutorAddress, Slice, StageOutputs
from flowgrid.transport.block_server import BlockServer

cloudpickle.register_pickle_by_value(sys.modules[__name__])

HASHED = BlocksOutput(4, "hash", "#hash")
NUMBERS = RangeLeaf("numbers", "i")
MANY = {"numbers": (RangeSplit(0, 100_000, 1),)}

# Every type of the kernel, with values that are easily lost on the way.
TYPES = {
    "BOOLEAN": "true",
    "TINYINT": "-128",
    "UTINYINT": "255",
    "SMALLINT": "-32768",
    "INTEGER": "-2147483648",
    "BIGINT": "-9223372036854775808",
    "UBIGINT": "18446744073709551615",
    "HUGEINT": "-170141183460469231731687303715884105727",
    "UHUGEINT": "340282366920938463463374607431768211455",
    "BIGNUM": "'123456789012345678901234567890123456789012345678901234567890'",
    "FLOAT": "'-inf'",
    "DOUBLE": "'nan'",
    "DECIMAL(4,1)": "-999.9",
    "DECIMAL(9,2)": "1234567.89",
    "DECIMAL(18,3)": "-123456789012345.678",
    "DECIMAL(38,10)": "1234567890123456789012345678.0123456789",
    "VARCHAR": "''",
    "BLOB": r"'\x00\xFF'",
    "BIT": "'0101011'",
    "UUID": "'123e4567-e89b-12d3-a456-426614174000'",
    "DATE": "'0044-03-15 (BC)'",
    "TIME": "'23:59:59.999999'",
    "TIME WITH TIME ZONE": "'12:00:00+05:30'",
    "TIMESTAMP": "'infinity'",
    "TIMESTAMP_S": "'2000-01-01 00:00:01'",
    "TIMESTAMP_MS": "'2000-01-01 00:00:00.001'",
    "TIMESTAMP_NS": "'2000-01-01 00:00:00.000000001'",
    "TIMESTAMP WITH TIME ZONE": "'2000-01-01 00:00:00+05:30'",
    "INTERVAL": "'13 months -4 days 5 microseconds'",
    "JSON": """'{"a": [1, null]}'""",
    "ENUM('a', 'b')": "'b'",
    "INTEGER[]": "[1, NULL]",
    "BOOLEAN[]": "[true, NULL]",
    "HUGEINT[]": "[1::HUGEINT, NULL]",
    "BIT[]": "['0101'::BIT, NULL]",
    "BLOB[]": "['x'::BLOB, NULL]",
    "INTEGER[3]": "[1, 2, NULL]",
    "ENUM('a', 'b')[]": "['b', NULL]",
    "STRUCT(a INTEGER, b VARCHAR, c BLOB)": "{'a': 1, 'b': NULL, 'c': 'z'::BLOB}",
    "STRUCT(a STRUCT(b INTEGER)[])[]": "[{'a': [{'b': 1}, NULL]}, NULL]",
    "MAP(VARCHAR, INTEGER)": "MAP {'a': 1, 'b': NULL}",
    "UNION(a INTEGER, b VARCHAR)": "union_value(b := 'x')",
    "GEOMETRY": "'POINT(1 2)'",
    "VARIANT": "1",
}


@pytest.mark.parametrize("type_", TYPES)
@pytest.mark.parametrize("output", [BlocksOutput(1, "single"), BlocksOutput(2, "round_robin")])
def test_every_type_of_the_kernel_survives_a_shuffle(
    slot: Any, type_: str, output: BlocksOutput
) -> None:
    value = f"CAST({TYPES[type_]} AS {type_})"
    values = f"VALUES (1, {value}), (2, NULL), (3, {value}), (4, NULL)"
    slot.run(f"SELECT * FROM ({values}) t(k, v)", output=output, stage=1)

    answer = slot.rows(
        "SELECT k, v IS NULL, typeof(v), CAST(v AS VARCHAR) FROM got ORDER BY k",
        [BlocksLeaf("got", 0, (Field("k", "INTEGER"), Field("v", type_)))],
        inputs=[slot.outputs(1)],
    )

    with duckdb.connect() as plain:
        plain.execute("SET TimeZone = 'UTC'").fetchall()
        text = plain.execute(f"SELECT CAST({value} AS VARCHAR), typeof({value})").fetchone()
        assert text is not None
        expected = [(1, False, text[1], text[0]), (2, True, text[1], None)]
    assert answer == [*expected, (3, *expected[0][1:]), (4, *expected[1][1:])]


def test_steps_stream_into_each_other_and_leaves_may_be_read_twice(slot: Any) -> None:
    steps = [
        SqlStep("evens", "SELECT i FROM numbers WHERE i % 2 = 0"),
        SqlStep("result", "SELECT count(*) FROM evens JOIN numbers USING (i)"),
    ]
    assert slot.rows(steps, [NUMBERS], splits=MANY) == [(50_000,)]


def test_blocks_may_be_read_twice_by_one_query(slot: Any) -> None:
    slot.run("SELECT i FROM numbers", [NUMBERS], splits=MANY, stage=1)
    leaf = BlocksLeaf("got", 0, (Field("i", "BIGINT"),))
    query = "SELECT count(*), sum(a.i) FROM got a JOIN got b ON a.i = b.i + 1"
    slot.run(query, [leaf], inputs=[slot.outputs(1)])
    assert slot.read().num_rows == 1
    assert slot.read().column(0).to_pylist() == [99_999]


def test_rows_read_are_the_slices_rows_even_when_a_limit_stops_early(slot: Any) -> None:
    for partition in range(3):
        slot.run(
            'SELECT i, hash(i) AS "#hash" FROM numbers',
            [NUMBERS],
            HASHED,
            splits=MANY,
            stage=1,
            partition=partition,
        )
    written = [slot.read(1, p, t).num_rows for p in (1, 2) for t in (2, 3)]

    report = slot.run(
        "SELECT i FROM got LIMIT 1",
        [BlocksLeaf("got", 0, (Field("i", "BIGINT"),))],
        inputs=[slot.outputs(1, partitions=3)],
        slices=[Slice(2, 4, 1, 3)],
    )

    assert report.rows == (1,)
    assert report.rows_read == (sum(written),)


def test_a_task_with_nothing_to_read_still_has_its_columns(slot: Any) -> None:
    slot.run("SELECT 1 AS a", stage=1)
    leaf = BlocksLeaf("got", 0, (Field("a", "INTEGER"),))
    report = slot.run("FROM got", [leaf], inputs=[slot.outputs(1)], slices=[NOTHING])
    assert report.rows_read == (0,)
    assert slot.read().schema.names == ["a"]


def test_rows_without_columns_are_still_counted(slot: Any) -> None:
    slot.run('SELECT hash(i) AS "#hash" FROM numbers', [NUMBERS], HASHED, splits=MANY, stage=1)
    answer = slot.rows(
        "SELECT count(*) FROM got", [BlocksLeaf("got", 0, ())], inputs=[slot.outputs(1)]
    )
    assert answer == [(100_000,)]


def test_the_digest_is_the_same_for_any_order_and_any_batches(
    make_slot: Callable[..., Any],
) -> None:
    query = (
        "SELECT i, CASE WHEN i % 3 > 0 THEN 'x' || i END AS s, hash(i) AS \"#hash\" FROM numbers"
    )
    one = make_slot().run(query, [NUMBERS], HASHED, splits=MANY)
    other = make_slot(settings={"kernel.batch_rows": "2048"}).run(
        query + " ORDER BY s DESC", [NUMBERS], HASHED, splits=MANY, number=1
    )
    different = make_slot().run(
        query.replace("'x'", "'y'"), [NUMBERS], HASHED, splits=MANY, number=2
    )
    assert one.digest == other.digest
    assert one.rows == other.rows == different.rows
    assert one.digest != different.digest


def test_chance_is_the_same_for_every_attempt_of_a_task_and_differs_between_tasks(
    slot: Any,
) -> None:
    def digest(partition: int, number: int, seed: int) -> int:
        query = "SELECT random() AS r FROM numbers WHERE random() < 0.5"
        place = {"partition": partition, "number": number}
        report = slot.run(query, [NUMBERS], splits=MANY, seed=seed, **place)
        digest: int = report.digest
        return digest

    assert digest(0, 0, seed=7) == digest(0, 1, seed=7)
    assert digest(0, 2, seed=7) != digest(1, 0, seed=7)
    assert digest(0, 3, seed=7) != digest(0, 4, seed=8)


def test_a_wide_slot_keeps_the_order_of_rows(make_slot: Callable[..., Any]) -> None:
    slot = make_slot(threads=2)
    slot.run("SELECT i FROM numbers WHERE i % 7 = 0", [NUMBERS], splits=MANY)
    assert slot.read().column("i").to_pylist() == list(range(0, 100_000, 7))


def test_blocks_of_another_host_are_fetched(
    slot: Any, make_slot: Callable[..., Any], tmp_path: Path
) -> None:
    there = make_slot(tmp_path / "there")
    there.run("SELECT i FROM numbers", [NUMBERS], splits=MANY, stage=1)
    leaf = BlocksLeaf("got", 0, (Field("i", "BIGINT"),))
    with zmq.Context() as context:
        server = BlockServer(context, "tcp://127.0.0.1:0", [there.directory])
        address = ExecutorAddress(ExecutorId("b", 1), "another", str(tmp_path), server.address)
        outputs = StageOutputs(1, (address,), (0,), (0,))
        try:
            report = slot.run("SELECT sum(i) AS s FROM got", [leaf], inputs=[outputs])
        finally:
            server.close()
        gone = slot.fails("FROM got", [leaf], inputs=[outputs], number=1)
    assert report.rows_read == (100_000,)
    assert gone.fetch.cause is FetchCause.UNREACHABLE
    assert gone.fetch.holder == ExecutorId("b", 1)


def shifted(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.record_batch({"i": pc.add(batch.column("i"), 1)})


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(
    ("last", "answer"),
    [
        ("SELECT sum(i)::BIGINT FROM mapped WHERE i % 2 = 0", (2_500_050_000,)),
        ("SELECT i FROM mapped LIMIT 1", (1,)),
    ],
)
def test_blocks_queries_and_functions_make_one_stream(
    make_slot: Callable[..., Any], threads: int, last: str, answer: tuple[int]
) -> None:
    slot = make_slot(threads=threads, settings={"kernel.batch_rows": "4096"})
    slot.write_numbers(stage=1, partitions=2)
    steps = [
        SqlStep("first", "SELECT min(i) AS i FROM got GROUP BY i"),
        SqlStep("sorted", "FROM first ORDER BY i"),
        PythonStep(
            "mapped",
            "sorted",
            cloudpickle.dumps(shifted),
            pa.schema({"i": pa.int64()}).serialize().to_pybytes(),
            "map_batches(shifted)",
        ),
        SqlStep("result", last),
    ]
    leaf = BlocksLeaf("got", 0, (Field("i", "BIGINT"),))
    found = slot.rows(steps, [leaf], inputs=[slot.outputs(1, partitions=2)])
    assert found == [answer]


def test_a_name_in_a_query_is_never_a_variable_of_ours(slot: Any) -> None:
    failure = slot.fails("FROM cursor")
    assert failure.kind is FailureKind.QUERY_ERROR
    assert "cursor does not exist" in failure.message
