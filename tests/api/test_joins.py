"""Joins with Polars' columns; Polars itself is asked."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

import flowgrid as fg
from flowgrid import col
from flowgrid.api.session import Session

LEFT: list[dict[str, Any]] = [
    {"k": 1, "j": "p", "a": "x"},
    {"k": 2, "j": "q", "a": "y"},
    {"k": None, "j": "r", "a": "z"},
]
RIGHT: list[dict[str, Any]] = [
    {"k": 1, "a": 0.5, "c": "u"},
    {"k": 3, "a": 1.5, "c": "v"},
    {"k": None, "a": 2.5, "c": "w"},
]


def in_order(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(rows, key=repr)


@pytest.mark.parametrize("how", ["inner", "left", "right", "full", "semi", "anti"])
def test_a_join_on_a_name_is_polars_join(session: Session, how: Any) -> None:
    found = session.from_pylist(LEFT).join(session.from_pylist(RIGHT), on="k", how=how)
    coalesce: Any = {"coalesce": True} if how == "full" else {}
    expected = pl.DataFrame(LEFT).join(pl.DataFrame(RIGHT), on="k", how=how, **coalesce)

    assert found.columns == expected.columns
    assert in_order(found.to_pylist()) == in_order(expected.to_dicts())


@pytest.mark.parametrize("how", ["inner", "left", "right", "full", "semi", "anti"])
def test_keys_may_have_different_names(session: Session, how: Any) -> None:
    left = [{"l": row["k"], "a": row["a"]} for row in LEFT]
    found = session.from_pylist(left).join(
        session.from_pylist(RIGHT), left_on="l", right_on="k", how=how
    )
    coalesce: Any = {"coalesce": True} if how == "full" else {}
    expected = pl.DataFrame(left).join(
        pl.DataFrame(RIGHT), left_on="l", right_on="k", how=how, **coalesce
    )

    assert found.columns == expected.columns
    assert in_order(found.to_pylist()) == in_order(expected.to_dicts())


def test_a_full_join_may_keep_both_keys(session: Session) -> None:
    found = session.from_pylist(LEFT).join(
        session.from_pylist(RIGHT), on="k", how="full", coalesce=False
    )

    assert found.columns == ["k", "j", "a", "k_right", "a_right", "c"]
    assert found.filter("k IS NULL AND k_right = 3").count() == 1


def test_keys_may_be_several_and_computed(session: Session) -> None:
    left, right = session.from_pylist(LEFT), session.from_pylist(RIGHT)

    assert left.join(left, on=["k", "j"]).columns == ["k", "j", "a", "a_right"]
    shifted = left.join(right, left_on=col("k") + 1, right_on="k")
    assert shifted.select("k", "k_right").to_pylist() == [{"k": 2, "k_right": 3}]


def test_a_condition_names_both_sides_as_the_result_does(session: Session) -> None:
    found = session.from_pylist(LEFT).join(
        session.from_pylist(RIGHT), on="k < k_right AND c = 'v'", suffix="_right"
    )

    assert found.columns == ["k", "j", "a", "k_right", "a_right", "c"]
    assert sorted(found.collect()["k"].to_pylist()) == [1, 2]


def test_a_condition_may_be_a_column(session: Session) -> None:
    left, right = session.from_pylist(LEFT), session.from_pylist(RIGHT)

    assert left.join(right, on=[col("k") == col("k_r"), col("c") == "u"], suffix="_r").count() == 1


def test_a_cross_join_is_all_pairs(session: Session) -> None:
    frame = session.from_pylist(LEFT)

    assert frame.join(frame, how="cross").count() == 9
    with pytest.raises(fg.PlanError, match="no keys"):
        frame.join(frame, on="k", how="cross")


def test_names_that_still_clash_ask_for_another_suffix(session: Session) -> None:
    left = session.from_pylist([{"k": 1, "a": 1, "a_right": 1}])

    with pytest.raises(fg.PlanError, match="a_right"):
        left.join(session.from_pylist([{"k": 1, "a": 2}]), on="k")


def test_what_a_join_needs_is_said(session: Session) -> None:
    frame = session.from_pylist(LEFT)

    with pytest.raises(fg.PlanError, match="needs on=, or both"):
        frame.join(frame)
    with pytest.raises(fg.PlanError, match="needs on=, or both"):
        frame.join(frame, left_on="k")
    with pytest.raises(fg.PlanError, match="left_on has 2 keys and right_on 1"):
        frame.join(frame, left_on=["k", "a"], right_on="k")
    with pytest.raises(fg.PlanError, match="is no kind of join"):
        frame.join(frame, on="k", how="outside")  # type: ignore[arg-type]
    with pytest.raises(fg.ColumnNotFoundError, match="'kk' in the left side of join"):
        frame.join(frame, on="kk")
