"""Verbs over several relations: what they accept, which columns they have, what they give."""

from __future__ import annotations

import duckdb
import pytest
import sqlglot

from flowgrid.errors import PlanError
from flowgrid.expr.tree import parse
from flowgrid.logical.nodes import (
    NO_COLUMNS,
    Join,
    JoinKind,
    KernelQuery,
    Leaf,
    SetOperation,
    Union,
)
from flowgrid.protocol.fragment import Field

LEFT = Leaf((Field("a", "INTEGER"),))
RIGHT = Leaf((Field("b", "INTEGER"),))
WIDE = Leaf((Field("c", "INTEGER"), Field("d", "INTEGER")))
LEFT_ROWS = "(SELECT * FROM (VALUES (1), (1), (2), (NULL)) t(a))"
RIGHT_ROWS = "(SELECT * FROM (VALUES (1), (3), (NULL)) t(b))"


@pytest.mark.parametrize(
    ("kind", "wanted"),
    [
        ("inner", [(1, 1), (1, 1)]),
        ("left", [(1, 1), (1, 1), (2, None), (None, None)]),
        ("right", [(1, 1), (1, 1), (None, 3), (None, None)]),
        ("full", [(1, 1), (1, 1), (2, None), (None, 3), (None, None), (None, None)]),
        ("semi", [(1,), (1,)]),
        ("anti", [(2,), (None,)]),
    ],
)
def test_every_kind_of_join(kind: str, wanted: list[tuple[object, ...]]) -> None:
    join = Join(LEFT, RIGHT, JoinKind(kind), parse("a = b"))
    found = duckdb.sql(join.query([LEFT_ROWS, RIGHT_ROWS])).fetchall()
    assert sorted(found, key=str) == sorted(wanted, key=str)
    assert len(join.columns) == len(wanted[0])


def test_a_join_has_a_condition_unless_it_is_a_cross_join() -> None:
    with pytest.raises(PlanError, match="needs a condition"):
        Join(LEFT, RIGHT, JoinKind.INNER)
    with pytest.raises(PlanError, match="needs a condition"):
        Join(LEFT, RIGHT, JoinKind.CROSS, parse("a = b"))
    cross = Join(LEFT, RIGHT, JoinKind.CROSS)
    assert len(duckdb.sql(cross.query([LEFT_ROWS, RIGHT_ROWS])).fetchall()) == 12


def test_a_join_with_a_relation_without_columns_has_only_its_own() -> None:
    nothing, rows = Leaf(()), f"(SELECT {NO_COLUMNS} FROM {RIGHT_ROWS})"
    join = Join(LEFT, nothing, JoinKind.LEFT, parse("true"))
    found = duckdb.sql(join.query([LEFT_ROWS, rows]))
    assert (tuple(found.columns), len(found.fetchall())) == (("a",), 12)


def test_sides_of_a_join_share_no_name() -> None:
    with pytest.raises(PlanError, match="two columns named 'A'"):
        Join(LEFT, Leaf((Field("A", "INTEGER"),)), JoinKind.SEMI, parse("a = a"))


def test_a_union_keeps_all_rows_under_the_first_names() -> None:
    union = Union((LEFT, RIGHT, LEFT))
    assert union.columns == ("a",)
    assert len(duckdb.sql(union.query([LEFT_ROWS, RIGHT_ROWS, LEFT_ROWS])).fetchall()) == 11


@pytest.mark.parametrize(
    ("operator", "all_", "wanted"),
    [
        ("intersect", False, [(1,), (None,)]),
        ("intersect", True, [(1,), (None,)]),
        ("except", False, [(2,)]),
        ("except", True, [(1,), (2,)]),
    ],
)
def test_sets_and_multisets(operator: str, all_: bool, wanted: list[tuple[object, ...]]) -> None:
    node = SetOperation(LEFT, RIGHT, operator, all_)
    found = duckdb.sql(node.query([LEFT_ROWS, RIGHT_ROWS])).fetchall()
    assert sorted(found, key=str) == sorted(wanted, key=str)
    assert node.describe() == f"SetOperation {operator}" + (" all" if all_ else "")


def test_relations_of_different_width_are_refused() -> None:
    with pytest.raises(PlanError, match=r"\[1, 2\] columns"):
        Union((LEFT, WIDE))
    with pytest.raises(PlanError, match="2 and 1 columns"):
        SetOperation(WIDE, LEFT, "except")


def test_a_kernel_query_reads_its_relations_by_number() -> None:
    tree = sqlglot.parse_one('SELECT a + b AS s FROM "#0" JOIN "#1" ON a = b', read="duckdb")
    node = KernelQuery((LEFT, RIGHT), tree, (Field("s", "INTEGER"),), "a test")
    with duckdb.connect() as kernel:
        kernel.execute(f"CREATE VIEW x AS FROM {LEFT_ROWS}")
        kernel.execute(f'CREATE VIEW "y z" AS FROM {RIGHT_ROWS}')
        assert kernel.execute(node.query(['"x"', '"y z"'])).fetchall() == [(2,), (2,)]
    assert node.describe() == "KernelQuery (one task: a test)"
    assert node.columns == ("s",)
    other = node.with_inputs([RIGHT, LEFT])
    assert other.inputs == (RIGHT, LEFT)
    assert node.with_inputs([LEFT, RIGHT]) is node
