"""`join_asof` gives every row the nearest of the other frame, as in Polars."""

from __future__ import annotations

import pytest

import flowgrid as fg
from flowgrid.api.dataframe import DataFrame
from flowgrid.api.session import Session


@pytest.fixture
def trades(session: Session) -> DataFrame:
    rows = [{"s": "a", "t": 5, "n": 1}, {"s": "a", "t": 2, "n": 2}, {"s": "b", "t": 5, "n": 3}]
    return session.from_pylist(rows)


@pytest.fixture
def quotes(session: Session) -> DataFrame:
    rows = [{"s": "a", "t": 1, "n": 10}, {"s": "a", "t": 5, "n": 50}, {"s": "b", "t": 6, "n": 60}]
    return session.from_pylist(rows)


def found(frame: DataFrame, name: str) -> list[object]:
    return list(frame.sort("n").collect()[name].to_pylist())


def test_the_last_one_that_is_not_later(trades: DataFrame, quotes: DataFrame) -> None:
    joined = trades.join_asof(quotes, on="t", by="s")
    assert joined.columns == ["s", "t", "n", "n_right"]
    assert found(joined, "n_right") == [50, 10, None]
    earlier = trades.join_asof(quotes, on="t", by="s", allow_exact_matches=False)
    assert found(earlier, "n_right") == [10, 10, None]


def test_the_first_one_that_is_not_earlier(trades: DataFrame, quotes: DataFrame) -> None:
    joined = trades.join_asof(quotes, on="t", by="s", strategy="forward", coalesce=False)
    assert joined.columns == ["s", "t", "n", "t_right", "n_right"]
    assert found(joined, "t_right") == [5, 5, 6]


def test_the_sides_may_have_names_of_their_own(trades: DataFrame, quotes: DataFrame) -> None:
    others = quotes.rename({"t": "at", "s": "sign", "n": "price"})
    joined = trades.join_asof(
        others, left_on="t", right_on="at", by_left="s", by_right=["sign"], coalesce=False
    )
    assert joined.columns == ["s", "t", "n", "at", "price"]
    assert found(joined, "price") == [50, 10, None]
    assert found(trades.join_asof(others, left_on="t", right_on="at"), "sign") == ["a", "a", "a"]


def test_what_cannot_be_meant_is_refused(trades: DataFrame, quotes: DataFrame) -> None:
    with pytest.raises(fg.PlanError, match=r"needs on=, or as many left_on= as right_on="):
        trades.join_asof(quotes, left_on="t")
    with pytest.raises(fg.PlanError, match=r"needs by=, or as many by_left= as by_right="):
        trades.join_asof(quotes, on="t", by_left=["s", "n"], by_right="s")
    with pytest.raises(fg.PlanError, match="neither backward nor forward"):
        trades.join_asof(quotes, on="t", strategy="nearest")  # type: ignore[arg-type]
    with pytest.raises(fg.ColumnNotFoundError, match="'x' in join_asof on"):
        trades.join_asof(quotes, on="x")
