"""Values become columns, and back."""

from __future__ import annotations

import pytest

import flowgrid as fg
from flowgrid.api.dataframe import DataFrame
from flowgrid.api.session import Session


@pytest.fixture
def sales(session: Session) -> DataFrame:
    rows: list[dict[str, object]] = [
        {"shop": "a", "year": 2023, "half": 1, "n": 5, "m": 1.0},
        {"shop": "a", "year": 2023, "half": 2, "n": 6, "m": 2.0},
        {"shop": "b", "year": 2024, "half": 1, "n": 7, "m": 3.0},
        {"shop": "b", "year": None, "half": 1, "n": 8, "m": 4.0},
    ]
    return session.from_pylist(rows)


def test_every_value_has_a_column(sales: DataFrame) -> None:
    wide = sales.pivot("year", index="shop", values="n", aggregate_function="sum")
    assert wide.sort("shop").to_pylist() == [
        {"shop": "a", "2023": 11, "2024": None},
        {"shop": "b", "2023": None, "2024": 7},
    ]


def test_given_values_need_no_query(sales: DataFrame) -> None:
    wide = sales.pivot("year", [2024, None, 1999], index="shop", values="n")
    assert wide.sort("shop").to_pylist() == [
        {"shop": "a", "2024": None, "null": None, "1999": None},
        {"shop": "b", "2024": 7, "null": 8, "1999": None},
    ]


def test_several_columns_combine_their_names(sales: DataFrame) -> None:
    by_both = sales.drop("m").pivot(["year", "half"], [(2023, 2), (2024, 1)], values="n")
    assert by_both.sort("shop").to_pylist() == [
        {"shop": "a", "2023_2": 6, "2024_1": None},
        {"shop": "b", "2023_2": None, "2024_1": 7},
    ]
    two = sales.pivot("half", [1], index="shop", values=["n", "m"], aggregate_function="max")
    assert two.columns == ["shop", "n_1", "m_1"]
    rows = sales.pivot("half", [1, 2], index="shop", aggregate_function="len").sort("shop")
    assert rows.to_pylist() == [{"shop": "a", "1": 1, "2": 1}, {"shop": "b", "1": 2, "2": 0}]


def test_what_cannot_be_meant_is_refused(sales: DataFrame) -> None:
    with pytest.raises(fg.PlanError, match="needs index= or values="):
        sales.pivot("year", [1])
    with pytest.raises(fg.PlanError, match="'totals' is none of first"):
        sales.pivot("year", [1], index="shop", aggregate_function="totals")
    with pytest.raises(fg.ColumnNotFoundError, match="'yaer' in pivot; did you mean 'year'"):
        sales.pivot("yaer", [1], index="shop")
