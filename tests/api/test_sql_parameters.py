"""Parameters are typed values wherever an expression may stand; never text."""

from __future__ import annotations

import datetime
import decimal
import uuid

import duckdb
import numpy as np
import pyarrow as pa
import pytest

import flowgrid as fg
from flowgrid.api.session import Session

DAY = datetime.date(2024, 2, 29)

VALUES = [
    None, True, 1, -5, 2**31, 1.5, -0.0, float("inf"), "it's \"quoted\"\\n; DROP TABLE t -- ☃", "", "?",
    b"\x00\xff'", b"", DAY, datetime.datetime(2024, 1, 1, 1, 2, 3, 456789), datetime.time(1, 2, 3, 4),
    decimal.Decimal("1.50"), decimal.Decimal("-1E3"), uuid.UUID(int=5), [1, 2, None], [], [[1], [2, 3]],
    ["a", None], [None], {"a": 1, "b": [1, 2]}, [DAY],
    [decimal.Decimal("1.5"), decimal.Decimal("10.25")],
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_has_the_type_that_the_kernel_gives_it(session: Session, value: object) -> None:
    text = "SELECT $1 AS x, typeof($1) AS type"
    with duckdb.connect() as kernel:
        expected = kernel.execute(text, [value]).fetchall()
    (found,) = session.sql(text, [value]).to_pylist()
    assert repr([tuple(found.values())]) == repr(expected)


@pytest.mark.parametrize("value", [np.int64(5), np.array([5])[0], pa.scalar(5)], ids=repr)
def test_values_of_numpy_and_arrow_are_values(session: Session, value: object) -> None:
    assert session.sql("SELECT ? AS x", [value]).to_pylist() == [{"x": 5}]
    assert session.sql("SELECT ? AS x", [np.array([1, 2])]).to_pylist() == [{"x": [1, 2]}]


@pytest.mark.parametrize(
    ("text", "params", "expected"),
    [
        ("SELECT $1+$2*$1 AS x", [3, 4], 15),
        ("SELECT list_sum([$1,$2,$1]) AS x", [1, 2], 4),
        ("SELECT $a || '$1$' || $a AS x", {"a": "b"}, "b$1$b"),
        ("SELECT $$ $1 $$ || $1 AS x", ["b"], " $1 b"),
        ("SELECT ?::DATE - ? AS x", ["2024-03-05", DAY], 5),
        ("SELECT sum(range) AS x FROM (FROM range(10) LIMIT ? OFFSET ?)", [2, 3], 7),
        ("SELECT count(*) AS x FROM range(9) r(i) WHERE i IN (?, ?) OR i = ANY(?)", [1, 99, [4, 5]], 3),
        ("SELECT -? - -? AS x", [-3, -2], 1),
        ("SELECT (?).a AS x", [{"a": 4}], 4),
        ("SELECT ? IS NULL AS x", [None], True),
        ("SELECT 'x?' LIKE ? AS x", ["x_"], True),
    ],
)  # fmt: skip
def test_a_parameter_can_stand_where_a_value_can(
    session: Session, text: str, params: object, expected: object
) -> None:
    assert session.sql(text, params).to_pylist() == [{"x": expected}]  # type: ignore[arg-type]


def test_what_has_no_literal_is_refused(session: Session) -> None:
    with pytest.raises(fg.PlanError, match="of type set cannot be written as a literal"):
        session.sql("SELECT ?", [{1, 2}])
