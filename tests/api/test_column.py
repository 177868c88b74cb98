"""Expressions as users write them; DuckDB says what they are worth."""

from __future__ import annotations

import datetime
import decimal
import math
from typing import Any

import pyarrow as pa
import pytest

import flowgrid as fg
from flowgrid import col, lit
from flowgrid.api.session import Session

ROWS = [
    {"a": 7, "b": 2, "f": 2.5, "t": "x", "n": None, "p": True},
    {"a": -7, "b": 2, "f": math.nan, "t": "it's", "n": 1, "p": False},
]


def values(session: Session, column: fg.Column) -> list[Any]:
    found: list[Any] = (
        session.from_pylist(ROWS).select(column.alias("x")).collect()["x"].to_pylist()
    )
    return found


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (col("a") + 1, [8, -6]),
        (1 - col("a"), [-6, 8]),
        (2 * (col("a") - 1) * 3, [36, -48]),
        (col("a") - (col("b") - 1), [6, -8]),
        (col("a") / col("b"), [3.5, -3.5]),
        (1 / col("b"), [0.5, 0.5]),
        (col("a") // 2, [3, -3]),
        (col("a") % 2, [1, -1]),
        (col("b") ** 3, [8, 8]),
        (-(col("a") + 1), [-8, 6]),
        ((col("a") > 0) & col("p"), [True, False]),
        ((col("a") < 0) | col("p"), [True, True]),
        (~((col("a") < 0) | col("p")), [False, False]),
        (col("t") == "it's", [False, True]),
        (col("t") != "it's", [True, False]),
        (col("n") == 1, [None, True]),
        (col("n").eq_missing(None), [True, False]),
        (col("n").is_null(), [True, False]),
        (col("n").is_not_null() == lit(True), [False, True]),
        (col("f").is_nan(), [False, True]),
        (col("a").is_in([1, 7]), [True, False]),
        (col("a").is_in([]), [False, False]),
        (col("a").between(0, 7), [True, False]),
        (col("n").fill_null(0), [0, 1]),
        (col("a").abs(), [7, 7]),
        ((col("a") / 4).round(1), [1.8, -1.8]),
        ((col("a") / 4).floor(), [1.0, -2.0]),
        ((col("a") / 4).ceil(), [2.0, -1.0]),
        (col("a").clip(0, 5), [5, 0]),
        (col("a").sign(), [1, -1]),
        (lit(8).log(2), [3.0, 3.0]),
        (col("b").sqrt() * col("b").sqrt(), [pytest.approx(2), pytest.approx(2)]),
        (col("a").cast(str), ["7", "-7"]),
        (col("t").cast("INTEGER", strict=False), [None, None]),
        (col("a").cast(pa.decimal128(5, 1)), [decimal.Decimal("7.0"), decimal.Decimal("-7.0")]),
        (col("a").sum().over(), [0, 0]),
        (col("a").count().over("b", order_by="a"), [2, 1]),
        (col("a").max().over("b", order_by="a", frame="ROWS BETWEEN 1 PRECEDING AND 1 PRECEDING"),
         [-7, None]),
        (col("a").shift().over(order_by=col("a").desc()), [None, 7]),
        (lit(datetime.date(2020, 1, 2)), [datetime.date(2020, 1, 2)] * 2),
        (lit(b"\x00a"), [b"\x00a"] * 2),
        (lit([1, 2]), [[1, 2]] * 2),
        (lit({"k": 1}), [{"k": 1}] * 2),
    ],
)  # fmt: skip
def test_an_expression_means_what_it_says(
    session: Session, column: fg.Column, expected: list[Any]
) -> None:
    order = session.from_pylist(ROWS).select(column.alias("x"), "a").sort("a DESC")

    assert order.collect()["x"].to_pylist() == expected


@pytest.mark.parametrize(
    ("column", "name"),
    [
        (col("a"), "a"),
        (col("a") + 1, "a"),
        (1 + col("a"), "a"),
        (col("a").sum().over("b"), "a"),
        (col("t").str.to_uppercase(), "t"),
        ((col("a") + 1).alias("c") * 2, "c"),
        (lit(1), "literal"),
        (fg.count(), "count"),
        (fg.sql_expr("a + 1"), "a + 1"),
        (fg.sql_expr("a + 1 AS c"), "c"),
        (fg.when("a > 1").then(lit("x")).otherwise(lit("y")), "literal"),
    ],
)
def test_an_expression_is_named_after_its_first_column(column: fg.Column, name: str) -> None:
    assert column.name == name


def test_the_truth_of_a_column_is_refused_with_the_way_out() -> None:
    with pytest.raises(fg.PlanError, match=r"& for and, \| for or"):
        bool(col("a") == 1)


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (col("a").sum(), 0), (col("a").mean(), 0.0), (col("a").min(), -7), (col("a").max(), 7),
        (col("n").count(), 1), (col("b").n_unique(), 1), (col("a").median(), 0.0),
        (col("a").quantile(0.5), 0.0), (col("n").any_value(), 1), (col("t").first(), "x"),
        (col("t").last(), "it's"), (col("b").implode(), [2, 2]), (col("b").var(), 0.0),
        (col("b").std(), 0.0), (col("a").sum().filter("a > 0"), 7),
    ],
)  # fmt: skip
def test_aggregates_are_methods_too(session: Session, column: fg.Column, expected: Any) -> None:
    assert session.from_pylist(ROWS).agg(x=column).to_pylist() == [{"x": expected}]


def test_an_expression_shows_itself() -> None:
    assert repr(col("a") + 1) == 'Column("a" + 1 AS a)'
