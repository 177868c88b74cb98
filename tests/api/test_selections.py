"""Choosing and computing columns and rows."""

from __future__ import annotations

import pytest

import flowgrid as fg
from flowgrid import col
from flowgrid.api.dataframe import DataFrame
from flowgrid.api.session import Session


@pytest.fixture
def frame(session: Session) -> DataFrame:
    return session.from_pylist(
        [{"k": "x", "a": 1, "Two Words": 1.5}, {"k": "y", "a": 2, "Two Words": None}]
    )


def test_select_takes_names_sql_columns_and_keywords(frame: DataFrame) -> None:
    found = frame.select(
        "K", "Two Words", "a + 1 AS next", col("a") * 2, [col("k").alias("l")], n="a"
    )

    assert found.columns == ["k", "Two Words", "next", "a", "l", "n"]
    assert found.to_pylist()[0] == {"k": "x", "Two Words": 1.5, "next": 2, "a": 2, "l": "x", "n": 1}


def test_a_star_is_every_column(frame: DataFrame) -> None:
    assert frame.select("*", b="a").columns == ["k", "a", "Two Words", "b"]
    assert frame.select(col("*")).columns == frame.columns
    assert frame.select("* EXCLUDE (a)").columns == ["k", "Two Words"]


def test_select_of_aggregates_is_one_row(frame: DataFrame) -> None:
    assert frame.select(fg.sum("a"), fg.count()).to_pylist() == [{"a": 3, "count": 2}]


def test_aggregates_and_values_of_rows_do_not_mix(frame: DataFrame) -> None:
    with pytest.raises(fg.PlanError, match=r"'k' in .* is neither aggregated nor a key"):
        frame.select("k", fg.sum("a"))
    with pytest.raises(fg.PlanError, match="with_columns is an aggregate"):
        frame.with_columns(fg.sum("a"))
    with pytest.raises(fg.PlanError, match="filter is an aggregate"):
        frame.filter("sum(a) > 1")


def test_with_columns_replaces_in_place_and_adds_behind(frame: DataFrame) -> None:
    found = frame.with_columns(col("A") + 1, b=col("a") * 10)

    assert found.columns == ["k", "a", "Two Words", "b"]
    assert found.select("a", "b").to_pylist() == [{"a": 2, "b": 10}, {"a": 3, "b": 20}]


def test_windows_may_stand_inside_expressions_filters_and_sort_keys(frame: DataFrame) -> None:
    share = col("a") / fg.sum("a").over()

    assert frame.select((share * 3).alias("s")).sort("s").to_pylist() == [{"s": 1.0}, {"s": 2.0}]
    assert frame.filter(share > 0.5).to_pylist() == [{"k": "y", "a": 2, "Two Words": None}]
    assert frame.sort(fg.row_number().over(order_by="a DESC")).select("a").to_pylist() == [
        {"a": 2},
        {"a": 1},
    ]


def test_windows_are_split_out_for_the_planner(frame: DataFrame) -> None:
    plan = frame.select(fg.count().over("k").alias("n")).explain()

    assert plan.splitlines()[:2] == [
        "Project #w0 AS n",
        '  Window COUNT(*) OVER (PARTITION BY "k") AS #w0',
    ]


def test_filters_are_joined_by_and_and_drop_null(frame: DataFrame) -> None:
    assert frame.filter(col("a") > 0, '"Two Words" > 1').select("k").to_pylist() == [{"k": "x"}]
    assert frame.filter('"Two Words" > 1 OR a = 2', "a < 2").count() == 1


def test_sorting_puts_null_first_unless_told_and_keys_may_say_their_own(frame: DataFrame) -> None:
    def order(*by: object, **how: object) -> list[str]:
        rows: list[str] = frame.sort(*by, **how).collect()["k"].to_pylist()  # type: ignore[arg-type]
        return rows

    assert order("Two Words") == ["y", "x"]
    assert order("Two Words", nulls_last=True) == ["x", "y"]
    assert order("a", descending=True) == ["y", "x"]
    assert order("a DESC") == order(col("a").desc()) == order("-a") == ["y", "x"]
    assert order('"Two Words" ASC NULLS LAST', "a") == ["x", "y"]
    assert order(["k", "a"], descending=[True, False]) == ["y", "x"]
    with pytest.raises(fg.PlanError, match="descending has 1 values for 2"):
        order("k", "a", descending=[True])
    with pytest.raises(fg.PlanError, match="belong in sort"):
        frame.select(col("a").desc())


def test_drop_rename_cast_and_unique(frame: DataFrame) -> None:
    assert frame.drop("A", ["k"]).columns == ["Two Words"]
    assert frame.rename({"Two Words": "w", "a": "A"}).columns == ["k", "A", "w"]
    assert str(frame.cast({"a": "DECIMAL(5,1)"}).schema.field("a").type) == "decimal128(5, 1)"
    assert set(map(str, frame.cast(str).schema.types)) <= {"string", "large_string"}
    assert frame.union(frame).unique().count() == 2
    assert frame.union(frame).unique("k").count() == 2
    assert frame.union(frame).unique(["k", "a"]).count() == 2


@pytest.mark.parametrize(
    "verb", ["select", "with_columns", "filter", "sort", "drop", "group_by", "unique"]
)
def test_an_unknown_column_is_found_at_once(frame: DataFrame, verb: str) -> None:
    with pytest.raises(
        fg.ColumnNotFoundError, match=f"unknown column 'kk' in {verb}; did you mean 'k'"
    ):
        getattr(frame, verb)("kk")


def test_two_columns_of_one_name_are_refused(frame: DataFrame) -> None:
    with pytest.raises(fg.PlanError, match="two columns named 'A'"):
        frame.select("a", col("k").alias("A"))


def test_types_are_checked_at_the_line_that_says_it(frame: DataFrame) -> None:
    with pytest.raises(fg.TypeMismatchError):
        frame.with_columns(col("k") * 2)


def test_bad_sql_has_a_position(frame: DataFrame) -> None:
    with pytest.raises(fg.SqlSyntaxError, match="line 1, column"):
        frame.filter("a > ) 1")
