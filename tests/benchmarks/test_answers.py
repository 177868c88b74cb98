"""When two answers are the same: the judge of the benchmarks and of the cluster tests."""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest

from benchmarks.answers import AnswersDiffer, require_equal, sort_columns


def test_rows_may_come_in_any_order_unless_a_column_is_sorted() -> None:
    ours, theirs = pa.table({"a": [1, 2, 3]}), pa.table({"a": [3, 1, 2]})
    require_equal(ours, theirs)
    with pytest.raises(AnswersDiffer, match="row 0"):
        require_equal(ours, theirs, sort_columns=["a"])


def test_ties_may_come_in_any_order() -> None:
    ours = pa.table({"key": [1, 1, 2], "value": ["x", "y", "z"]})
    theirs = pa.table({"key": [1, 1, 2], "value": ["y", "x", "z"]})
    require_equal(ours, theirs, sort_columns=["key"])


def test_a_row_that_is_there_twice_is_not_the_same_as_once() -> None:
    with pytest.raises(AnswersDiffer):
        require_equal(pa.table({"a": [1, 1, 2]}), pa.table({"a": [1, 2, 2]}))
    with pytest.raises(AnswersDiffer, match="2 rows against 1"):
        require_equal(pa.table({"a": [1, 1]}), pa.table({"a": [1]}))


def test_decimals_are_exact_and_floats_nearly_so() -> None:
    require_equal(pa.table({"a": [0.1 + 0.2]}), pa.table({"a": [0.3]}))
    with pytest.raises(AnswersDiffer):
        require_equal(pa.table({"a": [1.0]}), pa.table({"a": [1.0 + 1e-6]}))
    with pytest.raises(AnswersDiffer):
        require_equal(
            pa.table({"a": [Decimal("1.0000000001")]}), pa.table({"a": [Decimal("1.0000000002")]})
        )


def test_a_decimal_is_no_float_and_width_does_not_matter() -> None:
    narrow = pa.table({"a": pa.array([Decimal("1.50")], pa.decimal128(5, 2))})
    wide = pa.table({"a": pa.array([Decimal("1.50")], pa.decimal128(38, 2))})
    require_equal(narrow, wide)
    with pytest.raises(AnswersDiffer, match="columns differ"):
        require_equal(narrow, pa.table({"a": [1.5]}))


def test_nulls_equal_nulls_only() -> None:
    require_equal(pa.table({"a": [None, 1.0]}), pa.table({"a": [1.0, None]}))
    with pytest.raises(AnswersDiffer):
        require_equal(
            pa.table({"a": [None, 0.0]}),
            pa.table({"a": [None, None]}).cast(pa.schema({"a": pa.float64()})),
        )


def test_the_outermost_order_is_read_from_the_query() -> None:
    assert sort_columns("SELECT a, b AS c FROM t ORDER BY c DESC, 1") == ["c", "a"]
    assert sort_columns("SELECT a FROM (SELECT a FROM t ORDER BY a) AS u") == []
    assert sort_columns("SELECT a FROM t ORDER BY a, a + b, b") == ["a"]


def test_a_sort_column_is_found_in_whatever_case_it_was_written() -> None:
    text = "SELECT 1 AS SEGMENT ORDER BY segment"
    table = pa.table({"SEGMENT": [1, 2]})
    require_equal(table, table, sort_columns(text))
    with pytest.raises(AnswersDiffer):
        require_equal(table, table.take([1, 0]), sort_columns(text))
