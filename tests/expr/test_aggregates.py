"""Which functions fold rows."""

from __future__ import annotations

import duckdb
import pytest

from flowgrid.errors import SqlSyntaxError
from flowgrid.expr.aggregates import columns_outside_aggregates, has_aggregate
from flowgrid.expr.tree import parse


def test_every_aggregate_of_the_kernel_is_known() -> None:
    with duckdb.connect() as kernel:
        rows = kernel.execute(
            "SELECT DISTINCT function_name, len(parameters) FROM duckdb_functions() "
            "WHERE function_type = 'aggregate' AND function_name NOT LIKE '%!%'"
        ).fetchall()

    missed = set()
    for name, arity in rows:
        try:
            if not has_aggregate(parse(f"{name}({', '.join('abcdef'[:arity])})")):
                missed.add(name)
        except SqlSyntaxError:
            continue  # an operator's own name, or an arity that only the kernel writes

    assert not missed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum(a) + 1", True),
        ("count(*) FILTER (WHERE a > 1)", True),
        ("sum(a) OVER ()", False),
        ("a - avg(a) OVER (PARTITION BY b)", False),
        ("sum(a) / sum(b) OVER ()", True),
        ("row_number() OVER (ORDER BY a)", False),
        ("upper(a)", False),
        ("greatest(a, b)", False),
    ],
)
def test_a_window_is_no_aggregate(text: str, expected: bool) -> None:
    assert has_aggregate(parse(text)) is expected


def test_columns_inside_aggregates_and_keys_are_no_values_of_rows() -> None:
    text = "a + b % 2 + c + sum(d) FILTER (WHERE e > 0) + first(f ORDER BY g)"

    assert list(columns_outside_aggregates(parse(text), frozenset({"b % 2", "c"}))) == ["a"]
