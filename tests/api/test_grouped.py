"""One row per group."""

from __future__ import annotations

import pytest

import flowgrid as fg
from flowgrid import col
from flowgrid.api.dataframe import DataFrame
from flowgrid.api.session import Session


@pytest.fixture
def frame(session: Session) -> DataFrame:
    return session.from_pylist(
        [{"k": "x", "a": 1, "b": 4.0}, {"k": "x", "a": 3, "b": None}, {"k": "y", "a": 5, "b": 2.0}]
    )


def test_keys_come_first_then_aggregates_under_their_names(frame: DataFrame) -> None:
    found = frame.group_by("K").agg(fg.sum("a").alias("s"), "sum(a) / count(*)", n=fg.count())

    assert found.sort("k").to_pylist() == [
        {"k": "x", "s": 4, "sum(a) / count(*)": 2.0, "n": 2},
        {"k": "y", "s": 5, "sum(a) / count(*)": 5.0, "n": 1},
    ]


def test_keys_may_be_computed_and_named(frame: DataFrame) -> None:
    found = frame.group_by((col("a") > 2).alias("big"), tail="right(k, 1)").count()

    assert found.columns == ["big", "tail", "count"]
    assert found.sort("big", "tail").collect()["count"].to_pylist() == [1, 1, 1]


def test_a_computed_key_may_have_the_name_of_its_column(frame: DataFrame) -> None:
    found = frame.group_by(col("a") % 2).agg(fg.sum("a").alias("s"))

    assert found.to_pylist() == [{"a": 1, "s": 9}]


def test_what_is_no_aggregate_must_be_a_key(frame: DataFrame) -> None:
    assert frame.group_by("k").agg(fg.col("k").str.to_uppercase().alias("K2")).columns == [
        "k",
        "K2",
    ]
    with pytest.raises(fg.PlanError, match="neither aggregated nor a key"):
        frame.group_by("k").agg("a")
    with pytest.raises(fg.PlanError, match="in group_by is an aggregate"):
        frame.group_by(fg.sum("a"))
    with pytest.raises(fg.PlanError, match="window over an aggregation"):
        frame.group_by("k").agg(fg.sum("a").over("k"))


@pytest.mark.parametrize(
    ("verb", "expected"),
    [
        ("sum", [4, 5]), ("mean", [2.0, 5.0]), ("min", [1, 5]), ("max", [3, 5]),
        ("median", [2.0, 5.0]), ("first", [1, 5]), ("last", [3, 5]), ("n_unique", [2, 1]),
    ],
)  # fmt: skip
def test_an_aggregate_of_columns_is_a_verb(
    frame: DataFrame, verb: str, expected: list[float]
) -> None:
    grouped = frame.group_by("k")

    assert getattr(grouped, verb)("a").sort("k").collect()["a"].to_pylist() == expected
    assert getattr(grouped, verb)().columns == ["k", "a", "b"]


def test_a_whole_frame_is_one_group(frame: DataFrame) -> None:
    assert frame.agg(fg.max("a"), fg.count("b").alias("n")).to_pylist() == [{"a": 5, "n": 2}]


@pytest.mark.parametrize(
    ("verb", "sets", "groups"),
    [
        ("rollup", (), [("x", 1, 1), ("x", 3, 1), ("y", 5, 1), ("x", None, 2), ("y", None, 1),
                        (None, None, 3)]),
        ("cube", (), [("x", 1, 1), ("x", 3, 1), ("y", 5, 1), ("x", None, 2), ("y", None, 1),
                      (None, 1, 1), (None, 3, 1), (None, 5, 1), (None, None, 3)]),
        ("grouping_sets", (["K"], ["a"]), [("x", None, 2), ("y", None, 1), (None, 1, 1),
                                           (None, 3, 1), (None, 5, 1)]),
    ],
)  # fmt: skip
def test_several_groupings_are_one_frame(
    frame: DataFrame, verb: str, sets: tuple[list[str], ...], groups: list[tuple[object, ...]]
) -> None:
    found = getattr(frame.group_by("k", "a"), verb)(*sets).agg(n=fg.count())

    assert sorted(map(repr, (tuple(row.values()) for row in found.to_pylist()))) == sorted(
        map(repr, groups)
    )


def test_a_row_tells_which_keys_it_is_not_grouped_by(frame: DataFrame) -> None:
    found = frame.group_by("k").rollup().agg("grouping(k) AS g", n=fg.count())

    assert found.sort("g", "k").to_pylist() == [
        {"k": "x", "g": 0, "n": 2}, {"k": "y", "g": 0, "n": 1}, {"k": None, "g": 1, "n": 3},
    ]  # fmt: skip
    with pytest.raises(fg.PlanError, match="grouping_sets"):
        frame.group_by("k").grouping_sets(["a"])
    with pytest.raises(fg.PlanError, match="the key 'a' of group_by"):
        frame.group_by("k", "a").grouping_sets(["k"], [])
