"""Which equalities of a condition rows can meet by, and in which types."""

from __future__ import annotations

import pytest

from flowgrid.expr.tree import parse, to_sql
from flowgrid.logical.nodes import Join, JoinKind, Leaf
from flowgrid.physical.joins import join_keys
from flowgrid.protocol.fragment import Field

LEFT = Leaf((Field("a", "INTEGER"), Field("t", "VARCHAR"), Field("d", "DECIMAL(9,2)")))
RIGHT = Leaf((Field("b", "BIGINT"), Field("u", "VARCHAR"), Field("x", "DOUBLE")))


def keys(condition: str) -> list[tuple[str, str, str]]:
    found = join_keys(Join(LEFT, RIGHT, JoinKind.INNER, parse(condition)))
    if found is None:
        return []
    return [
        (to_sql(left), to_sql(right), type_)
        for left, right, type_ in zip(found.left, found.right, found.types, strict=True)
    ]


@pytest.mark.parametrize(
    ("condition", "wanted"),
    [
        ("a = b", [("a", "b", "BIGINT")]),
        ("B = A", [("A", "B", "BIGINT")]),
        ("a + 1 = b * 2 AND t = u", [("a + 1", "b * 2", "BIGINT"), ("t", "u", "VARCHAR")]),
        ("a IS NOT DISTINCT FROM b", [("a", "b", "BIGINT")]),
        ("d = x AND a < b", [("d", "x", "DOUBLE")]),
        ("d = b", [("d", "b", "DECIMAL(38,2)")]),
    ],
)
def test_equalities_between_the_sides_are_keys(
    condition: str, wanted: list[tuple[str, str, str]]
) -> None:
    assert keys(condition) == wanted


@pytest.mark.parametrize(
    "condition",
    ["a < b", "a = 1", "a = t::INTEGER", "a = b OR t = u", "t = b", "a + b = x",
     "a = b + random()"],
)  # fmt: skip
def test_what_is_no_hashable_equality_is_no_key(condition: str) -> None:
    assert keys(condition) == []
