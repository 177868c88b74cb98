"""The words of an expression."""

from __future__ import annotations

from typing import Any

import pytest

import flowgrid as fg
from flowgrid import col, lit
from flowgrid.api.session import Session

ROWS = [
    {"k": "x", "a": 1, "b": 10},
    {"k": "x", "a": 2, "b": None},
    {"k": "y", "a": 4, "b": 40},
]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (fg.count(), 3), (fg.count("b"), 2), (fg.sum("a"), 7), (fg.sum("a * b"), 170),
        (fg.mean("a"), pytest.approx(7 / 3)), (fg.avg("b"), 25.0), (fg.min("a"), 1), (fg.max("a"), 4),
        (fg.median("a"), 2.0), (fg.std("b"), pytest.approx(21.2132034)), (fg.var("b"), 450.0),
        (fg.first("a"), 1), (fg.last("a"), 4), (fg.any_value("b"), 10), (fg.n_unique("k"), 2),
        (fg.approx_n_unique("k"), 2), (fg.quantile("b", 0.25), 17.5), (fg.corr("a", "b"), 1.0),
        (fg.string_agg("k", "+", order_by="a DESC"), "y+x+x"), (fg.string_agg("k"), "x,x,y"),
        (fg.list("a", order_by=col("a").desc()), [4, 2, 1]), (fg.array_agg("a"), [1, 2, 4]),
        (fg.sum(col("a") * 2) / fg.count(), pytest.approx(14 / 3)),
        (fg.sql_expr("sum(a) FILTER (WHERE k = 'x')"), 3),
    ],
)  # fmt: skip
def test_aggregates(session: Session, column: fg.Column, expected: Any) -> None:
    assert session.from_pylist(ROWS).agg(v=column).to_pylist() == [{"v": expected}]


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (fg.row_number().over("k", order_by="a"), [1, 2, 1]),
        (fg.rank().over(order_by="k"), [1, 1, 3]),
        (fg.dense_rank().over(order_by="k"), [1, 1, 2]),
        (fg.ntile(3).over(order_by="a"), [1, 2, 3]),
        (fg.lag("a").over(order_by="a"), [None, 1, 2]),
        (fg.lead("a", 1, 0).over("k", order_by="a"), [2, 0, 0]),
        (fg.coalesce("b", "a"), [10, 2, 40]),
        (fg.coalesce("b", 0), [10, 0, 40]),
        (fg.greatest("a", 2), [2, 2, 4]),
        (fg.least("a", "b"), [1, 2, 4]),
        (fg.concat_str("k", "a", separator="-"), ["x-1", "x-2", "y-4"]),
        (fg.struct("k", n=col("a") + 1), [{"k": "x", "n": 2}, {"k": "x", "n": 3}, {"k": "y", "n": 5}]),
        (fg.when(col("a") > 3).then(lit("big")).when("a > 1").then(lit("mid")).otherwise(lit("low")),
         ["low", "mid", "big"]),
        (fg.when("a > 3").then("b"), [None, None, 40]),
        (fg.when("a > 3").then(1).otherwise(0) + 1, [1, 1, 2]),
        (lit(None), [None, None, None]),
    ],
)  # fmt: skip
def test_values_beside_rows(session: Session, column: fg.Column, expected: list[Any]) -> None:
    frame = session.from_pylist(ROWS).select("a", v=column).sort("a")

    assert frame.collect()["v"].to_pylist() == expected


def test_a_function_of_the_kernel_refuses_types_by_name(session: Session) -> None:
    with pytest.raises(fg.TypeMismatchError, match="sum"):
        session.from_pylist(ROWS).agg(fg.sum("k"))
