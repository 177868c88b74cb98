from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import cloudpickle
import pyarrow as pa
import pytest
from flowgrid_executor.kernels.python_kernel import WHOLE_PARTITION

from flowgrid.protocol.failures import FailureKind
from flowgrid.protocol.fragment import (
    BlocksOutput,
    PythonStep,
    RangeLeaf,
    RangeSplit,
    SqlStep,
    Step,
)

cloudpickle.register_pickle_by_value(sys.modules[__name__])

NUMBERS = RangeLeaf("numbers", "i")
SPLITS = {"numbers": (RangeSplit(0, 10, 1),)}
INTEGERS = pa.schema({"i": pa.int64()})


def step(
    function: Callable[[Any], Any],
    schema: pa.Schema = INTEGERS,
    batch_rows: int = 0,
    input_: str = "numbers",
) -> PythonStep:
    return PythonStep(
        "mapped",
        input_,
        cloudpickle.dumps(function),
        schema.serialize().to_pybytes(),
        "map_batches(f)",
        batch_rows=batch_rows,
    )


def rows(slot: Any, *steps: Step) -> list[Any]:
    found: list[Any] = slot.rows(list(steps), [NUMBERS], splits=SPLITS)
    return found


def fails(slot: Any, *steps: Step) -> Any:
    return slot.fails(list(steps), [NUMBERS], splits=SPLITS)


def test_a_function_between_two_queries_sees_batches(slot: Any) -> None:
    def negate(batch: pa.RecordBatch) -> pa.RecordBatch:
        assert isinstance(batch, pa.RecordBatch)
        return pa.record_batch({"i": [-i for i in batch.column("i").to_pylist()]})

    found = rows(
        slot,
        SqlStep("few", "SELECT i FROM numbers WHERE i < 3"),
        step(negate, input_="few"),
        SqlStep("result", "SELECT sum(i)::INTEGER FROM mapped"),
    )
    assert found == [(-3,)]


@pytest.mark.parametrize(
    "give",
    [
        lambda b: b,
        lambda b: pa.Table.from_batches([b, b.slice(0, 0)]),
        lambda b: {"i": b.column("i")},
        lambda b: {"i": b.column("i").to_pylist()},
        lambda b: {"i": b.column("i").cast(pa.int32())},
        lambda b: b.to_pandas(),
        lambda b: __import__("polars").from_arrow(b),
        lambda b: pa.RecordBatchReader.from_batches(b.schema, [b]),
        lambda b: (b.slice(i, 1) for i in range(b.num_rows)),
        lambda b: [b.slice(0, 4), {"i": b.column("i")[4:]}],
    ],
)
def test_a_function_may_return_anything_that_is_rows(
    slot: Any, give: Callable[[pa.RecordBatch], Any]
) -> None:
    assert rows(slot, step(give)) == [(i,) for i in range(10)]


@pytest.mark.parametrize(("batch_rows", "calls"), [(4, [4, 4, 2]), (10, [10]), (100, [10])])
def test_a_function_gets_as_many_rows_as_it_wants(
    slot: Any, batch_rows: int, calls: list[int]
) -> None:
    slot.settings = {"kernel.batch_rows": "2048"}
    found = rows(slot, step(lambda batch: {"i": [batch.num_rows]}, batch_rows=batch_rows))
    assert found == [(n,) for n in calls]


def test_a_function_may_see_its_whole_partition_as_one_table(slot: Any) -> None:
    def count(table: pa.Table) -> dict[str, list[int]]:
        assert isinstance(table, pa.Table)
        return {"i": [table.num_rows]}

    many = {"numbers": (RangeSplit(0, 300_000, 1),)}
    assert slot.rows([step(count, batch_rows=WHOLE_PARTITION)], [NUMBERS], splits=many) == [
        (300_000,)
    ]


def test_a_function_sees_plain_arrow_types(slot: Any) -> None:
    def types(batch: pa.RecordBatch) -> dict[str, list[str]]:
        return {"t": [str(field.type) for field in batch.schema]}

    query = (
        "SELECT true AS b, 1::HUGEINT AS h, [1::HUGEINT] AS l, 1.5::DECIMAL(4,1) AS d,"
        " 'x'::BLOB AS x, '{}'::JSON AS j, [{'a': false}] AS s"
    )
    found = rows(
        slot,
        SqlStep("all_types", query),
        step(types, pa.schema({"t": pa.string()}), input_="all_types"),
    )
    assert [row[0] for row in found] == [
        "bool",
        "decimal128(38, 0)",
        "list<l: decimal128(38, 0)>",
        "decimal128(4, 1)",
        "binary",
        "string",
        "list<l: struct<a: bool>>",
    ]


def test_what_a_function_gives_is_shuffled_like_anything_else(slot: Any) -> None:
    same = step(lambda b: {"i": b.column("i")}, pa.schema({"i": pa.int64()}))
    slot.run([same], [NUMBERS], BlocksOutput(3, "round_robin"), splits=SPLITS)
    assert [slot.read(target=t).column("i").to_pylist() for t in range(3)] == [
        [0, 3, 6, 9],
        [1, 4, 7],
        [2, 5, 8],
    ]


# -- the user's mistakes ---------------------------------------------------------------------------


def divide(batch: pa.RecordBatch) -> pa.RecordBatch:
    return inner(batch)


def inner(batch: pa.RecordBatch) -> pa.RecordBatch:
    if batch.column("i")[0].as_py() == 8:
        raise ValueError("eight is too much")
    return batch


@pytest.mark.parametrize("steps_after", [0, 2])
def test_what_a_function_raises_names_the_batch_and_shows_only_the_users_lines(
    slot: Any, steps_after: int
) -> None:
    after = [SqlStep("x", "FROM mapped"), SqlStep("y", "SELECT sum(i) FROM x")][:steps_after]
    failure = fails(slot, step(divide, batch_rows=4), *after)
    assert failure.kind is FailureKind.USER_ERROR
    assert failure.message == (
        "ValueError: eight is too much in batch 2 (rows 8-10) of job-1/stage-9/task-0"
    )
    assert "in divide" in failure.traceback
    assert "in inner" in failure.traceback
    assert "kernels/python_kernel.py" not in failure.traceback
    assert failure.traceback.rstrip().endswith("ValueError: eight is too much")


def test_a_generator_that_raises_later_is_the_users_error_too(slot: Any) -> None:
    def some(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
        yield batch
        raise KeyError("later")

    failure = fails(slot, step(some))
    assert failure.kind is FailureKind.USER_ERROR
    assert failure.message.startswith("KeyError: 'later' in batch 0")


def test_a_function_that_exits_ends_its_attempt_and_not_the_slot(slot: Any) -> None:
    failure = fails(slot, step(lambda batch: sys.exit(3)))
    assert failure.kind is FailureKind.USER_ERROR
    assert failure.message.startswith("SystemExit: 3")
    assert rows(slot, step(lambda batch: batch)) == [(i,) for i in range(10)]


class Unspeakable(BaseException):
    def __str__(self) -> str:
        raise RuntimeError("not even its text")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (KeyboardInterrupt(), "KeyboardInterrupt in batch 0"),
        (Unspeakable(), "Unspeakable: its text cannot be had (RuntimeError) in batch 0"),
    ],
)
def test_whatever_a_function_raises_is_the_users_error(
    slot: Any, error: BaseException, said: str
) -> None:
    def fail(batch: pa.RecordBatch) -> pa.RecordBatch:
        raise error

    failure = fails(slot, step(fail))
    assert failure.kind is FailureKind.USER_ERROR
    assert failure.message.startswith(said)


@pytest.mark.parametrize(
    ("give", "said"),
    [
        (lambda b: {"j": [1]}, "no column 'i' of type int64; it returned j"),
        (lambda b: {"i": [1], "j": [1]}, "column 'j' that is not promised"),
        (lambda b: {"i": pa.array(["x"])}, "column 'i' as string, expected int64"),
        (lambda b: {"i": pa.array([1.5])}, "column 'i' as double, expected int64"),
        (lambda b: None, "returned NoneType; expected a RecordBatch"),
        (lambda b: "rows", "returned str; expected"),
        (lambda b: [1], "returned int; expected"),
        (lambda b: {"i": ["x"]}, "Could not convert 'x'"),
    ],
)
def test_rows_that_were_not_promised_are_refused_by_column(
    slot: Any, give: Callable[[pa.RecordBatch], Any], said: str
) -> None:
    failure = fails(slot, step(give))
    assert failure.kind is FailureKind.USER_ERROR
    assert said in failure.message
    assert "in batch 0 (rows 0-10)" in failure.message


def hoard(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch.slice(0, len(bytearray(1 << 50)))


def test_a_function_that_finds_no_memory_is_named_with_its_line_and_may_try_again(
    slot: Any,
) -> None:
    failure = fails(slot, step(hoard))
    assert failure.kind is FailureKind.OUT_OF_MEMORY
    assert failure.message.startswith("map_batches(f) ran out of memory in batch 0 (rows 0-")
    assert "in hoard" in failure.traceback


def test_a_function_that_cannot_be_loaded_is_the_users_error(slot: Any) -> None:
    broken = PythonStep(
        "m", "numbers", b"no pickle", INTEGERS.serialize().to_pybytes(), "map_batches(f)"
    )
    failure = fails(slot, broken)
    assert failure.kind is FailureKind.USER_ERROR
    assert "while the function was loaded" in failure.message
