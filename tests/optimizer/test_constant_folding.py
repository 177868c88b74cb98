"""What does not depend on rows is computed once, exactly, and predicates are written simply."""

from __future__ import annotations

import pytest

from flowgrid.expr.tree import conjunction, parse, to_sql
from flowgrid.logical.explain import explain
from flowgrid.logical.nodes import GivenTable, Node, Union
from flowgrid.logical.schema import schema_of
from flowgrid.optimizer.boolean_algebra import rejects_nulls, simplified
from flowgrid.optimizer.constant_folding import fold_constants
from flowgrid.optimizer.empty_relations import drop_empty_relations
from tests.optimizer.plans import aggregate, assert_same_rows, execute, given, join, project, where

COVERS = ["boolean_algebra", "empty_relations"]

TABLE = given("t", [(1, 2), (None, 3), (4, None)], k="INTEGER", v="INTEGER")
OTHER = given("u", [(1, 2), (None, 3)], k="INTEGER", v="INTEGER")


def folded(plan: Node) -> Node:
    after = fold_constants(plan)
    assert_same_rows(plan, after)
    assert [field.type for field in schema_of(after)] == [field.type for field in schema_of(plan)]
    return after


@pytest.mark.parametrize(
    ("expression", "literal"),
    [
        ("date '1994-01-01' + interval '1' year", "CAST('1995-01-01 00:00:00' AS TIMESTAMP)"),
        ("1 + 2", "3"),
        ("1 - 2", "CAST('-1' AS INT)"),
        ("0.06 - 0.01", None),
        ("CAST(7 AS BIGINT) * 2", "CAST('14' AS BIGINT)"),
        ("1 / 3", None),
        ("'a' || 'b'", "'ab'"),
        ("1 = 1 AND NULL", None),
        ("upper('x')", "'X'"),
        ("CAST(NULL AS INTEGER) + 1", "CAST(NULL AS INT)"),
        ("'\\xAB'::BLOB || '\\x00'::BLOB", None),
        ("CAST('nan' AS DOUBLE) * 2", "CAST('nan' AS DOUBLE)"),
        ('CASE "t.k" WHEN 1 THEN 2 WHEN 3 THEN 4 ELSE 5 END', None),
    ],
)
def test_a_constant_keeps_its_value_and_its_type(expression: str, literal: str | None) -> None:
    after = folded(project(TABLE, c=expression))
    if literal is not None:
        assert explain(after).startswith(f"Project {literal} AS c")


@pytest.mark.parametrize(
    "expression",
    [
        "error('no')",
        "CAST('x' AS INTEGER)",
        "[1, 2]",
        "random()",
        "list_transform([1], x -> x + 1)",
    ],
)
def test_what_raises_or_differs_each_time_or_is_nested_stays(expression: str) -> None:
    plan = project(TABLE, a=f'CASE WHEN "t.k" > 9 THEN {expression} END', b="1 + 1")
    assert f"THEN {to_sql(parse(expression))} END" in explain(fold_constants(plan))
    assert explain(fold_constants(plan)).splitlines()[0].endswith("2 AS b")


def test_parts_without_columns_are_folded_inside_larger_expressions() -> None:
    plan = where(TABLE, '"t.k" < 1 + 1 AND "t.v" IN (1 + 1, 3)')
    assert explain(folded(plan)).startswith('Filter ("t.k" < 2) AND ("t.v" IN (2, 3))')


def test_a_plan_without_constants_is_the_same_object() -> None:
    plan = where(join(TABLE, OTHER, "inner", '"t.k" = "u.k"'), '"t.v" > 1')
    assert fold_constants(plan) is plan


@pytest.mark.parametrize(
    ("predicate", "simple"),
    [
        ("TRUE AND a = 1", "a = 1"),
        ("a = 1 OR TRUE", ""),
        ("a = 1 OR FALSE", "a = 1"),
        ("a = 1 AND (b = 2 AND NULL)", "FALSE"),
        ("a = 1 AND a = 1", "a = 1"),
        ("NOT FALSE AND a = 1", "a = 1"),
        ("(a = 1 AND b = 1) OR (a = 1 AND c = 1)", "a = 1 AND (b = 1 OR c = 1)"),
        ("(a = 1 AND b = 1) OR a = 1", "a = 1"),
        ("(a = 1 AND b = 1) OR (a = 1 AND b = 2)", "a = 1 AND b IN (1, 2)"),
        ("NULL OR FALSE", "FALSE"),
    ],
)
def test_predicates_are_written_simply(predicate: str, simple: str) -> None:
    found = conjunction(simplified(parse(predicate)))
    table = given("", [], a="INTEGER")
    assert table.columns == (".a",)
    values = "(VALUES (NULL), (0), (1), (2))"
    text = "" if found is None else to_sql(found)
    assert text.replace("(", "").replace(")", "") == simple.replace("(", "").replace(")", "")
    import duckdb

    with duckdb.connect() as connection:
        rows = f"FROM {values} x(a), {values} y(b), {values} z(c)"
        before = connection.execute(f"SELECT * {rows} WHERE {predicate}").fetchall()
        after = connection.execute(f"SELECT * {rows} WHERE {text or 'TRUE'}").fetchall()
    assert before == after


@pytest.mark.parametrize(
    ("predicate", "rejects"),
    [
        ("a = 1", True), ("a + 1 < b", True), ("a IS NULL", False), ("a IS NOT NULL", True),
        ("NOT a = 1", True), ("NOT (a = 1 AND b = 1)", False), ("a = 1 OR b = 1", False),
        ("a = 1 OR a = 2", True), ("a IN (1, NULL)", True), ("coalesce(a, 1) = 1", False),
        ("a IS DISTINCT FROM 1", False), ("CASE WHEN a = 1 THEN FALSE ELSE TRUE END", False),
        ("b = 1", False), ("a BETWEEN 1 AND 2", True), ("a NOT IN (1)", True),
        ("b BETWEEN a AND 2", False), ("FALSE", True),
    ],
)  # fmt: skip
def test_it_is_known_whether_a_row_of_nulls_can_pass(predicate: str, rejects: bool) -> None:
    assert rejects_nulls(parse(predicate), frozenset({"a"})) == rejects


def test_what_can_have_no_rows_is_not_computed() -> None:
    nothing = where(TABLE, "1 = 0")
    plans = {
        "join": join(nothing, OTHER, "inner", '"t.k" = "u.k"'),
        "left": join(nothing, OTHER, "left", '"t.k" = "u.k"'),
        "groups": aggregate(nothing, ["t.k"], n="count(*)"),
        "project": project(nothing, a="1"),
    }
    for name, plan in plans.items():
        after = drop_empty_relations(fold_constants(plan))
        assert isinstance(after, GivenTable), name
        assert after.table.num_rows == 0
        assert after.fields == schema_of(plan)


def test_what_has_rows_all_the_same_is_computed() -> None:
    nothing = where(TABLE, "1 = 0")
    for plan in (
        aggregate(nothing, [], n="count(*)"),
        join(nothing, OTHER, "right", '"t.k" = "u.k"'),
        join(OTHER, nothing, "anti", '"t.k" = "u.k"'),
        join(nothing, OTHER, "full", '"t.k" = "u.k"'),
        Union((nothing, OTHER)),
    ):
        after = drop_empty_relations(fold_constants(plan))
        assert_same_rows(plan, after)
        assert execute(after)
