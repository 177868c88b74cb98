"""User functions inside expressions."""

from __future__ import annotations

import threading
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import flowgrid as fg
from flowgrid import col
from flowgrid.api.dataframe import DataFrame
from flowgrid.api.session import Session


@fg.udf(str)
def shout(text: str | None, times: int) -> str | None:
    return None if text is None else text.upper() + "!" * times


@fg.udf("DOUBLE", vectorized=True)
def halved(values: pa.Array) -> pa.Array:
    return pc.divide(pc.cast(values, pa.float64()), 2)


@pytest.fixture
def frame(session: Session) -> DataFrame:
    return session.from_pylist([{"t": "a", "n": 1}, {"t": None, "n": 2}, {"t": "c", "n": 3}])


def values(frame: DataFrame, name: str) -> list[Any]:
    found: list[Any] = frame.sort("n").collect()[name].to_pylist()
    return found


def test_a_function_gets_the_values_of_a_row(frame: DataFrame) -> None:
    found = frame.with_columns(s=shout("t", "n + 1"))

    assert found.columns == ["t", "n", "s"]
    assert values(found, "s") == ["A!!", None, "C!!!!"]


def test_a_vectorized_function_gets_arrays(frame: DataFrame) -> None:
    assert values(frame.select("n", h=halved(col("n")) + 1), "h") == [1.5, 2.0, 2.5]


def test_functions_nest_and_stand_in_filters_sorts_keys_and_aggregates(frame: DataFrame) -> None:
    assert values(frame.select("n", q=halved(halved("n"))), "q") == [0.25, 0.5, 0.75]
    assert frame.filter(halved("n") > 1).columns == ["t", "n"]
    assert frame.filter(halved("n") > 1).count() == 1
    assert frame.sort(halved("n"), descending=True).collect()["n"].to_pylist() == [3, 2, 1]
    assert frame.agg(s=fg.sum(halved("n"))).to_pylist() == [{"s": 3.0}]
    assert frame.group_by(h=halved("n").floor()).count().sort("h").to_pylist() == [
        {"h": 0.0, "count": 1},
        {"h": 1.0, "count": 2},
    ]
    assert values(frame.select("n", s=fg.sum(halved("n")).over()), "s") == [3.0, 3.0, 3.0]


def test_a_function_of_an_aggregate_comes_in_a_following_step(frame: DataFrame) -> None:
    with pytest.raises(fg.PlanError, match="compute that first"):
        frame.agg(halved(fg.sum("n")))
    assert frame.agg(fg.sum("n")).select(halved("n")).to_pylist() == [{"n": 3.0}]


def test_what_cannot_travel_or_has_no_argument_is_refused(frame: DataFrame) -> None:
    lock = threading.Lock()

    @fg.udf(int)
    def guarded(n: int) -> int:
        with lock:
            return n

    with pytest.raises(fg.PlanError, match="cannot be sent to executors"):
        frame.select(guarded("n"))
    with pytest.raises(fg.PlanError, match="at least one column"):
        guarded()
