"""Expressions: built, read and rewritten without changing what they mean."""

from __future__ import annotations

import datetime
import decimal

import duckdb
import numpy as np
import pytest

from flowgrid.errors import PlanError, SqlSyntaxError
from flowgrid.expr import tree
from flowgrid.expr.tree import column, conjuncts, literal, parse, to_sql

VALUES = [
    None, True, False, 0, -7, 2**40, 0.1, -1.5e300, "", "it's", "ü\n", b"", b"\x00'\xff",
    datetime.date(2024, 2, 29), datetime.datetime(2024, 2, 29, 23, 59, 59, 123456),
    datetime.time(1, 2, 3, 4), datetime.timedelta(days=-1, seconds=5, microseconds=6),
    decimal.Decimal("-12.340"), decimal.Decimal("1E+3"), decimal.Decimal("0.001"),
    [1, None, 3], [], {"a": 1, "b c": ["x"]},
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_python_value_is_the_same_value_in_the_kernel(value: object) -> None:
    (found,) = duckdb.sql(f"SELECT {to_sql(literal(value))}").fetchall()[0]
    assert found == value
    assert type(found) is type(value)


def test_floats_without_digits_have_literals_too() -> None:
    texts = ", ".join(to_sql(literal(value)) for value in (float("inf"), float("-inf")))
    assert duckdb.sql(f"SELECT {texts}").fetchall() == [(float("inf"), float("-inf"))]
    (nan,) = duckdb.sql(f"SELECT {to_sql(literal(float('nan')))}").fetchall()[0]
    assert nan != nan


def test_a_time_with_a_zone_is_the_same_moment() -> None:
    zone = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    text = to_sql(literal(datetime.datetime(2024, 1, 1, 0, 0, tzinfo=zone)))
    (seconds,) = duckdb.sql(f"SELECT epoch({text})").fetchall()[0]
    assert seconds == 1_704_047_400


def test_numpy_scalars_are_their_python_values() -> None:
    assert to_sql(literal(np.int32(7))) == "7"
    assert to_sql(literal(np.float64(0.5))) == to_sql(literal(0.5))


@pytest.mark.parametrize(
    "value", [pytest.param(object(), id="object"), {1, 2}, decimal.Decimal("NaN")], ids=repr
)
def test_a_value_without_a_literal_is_refused_with_a_way_out(value: object) -> None:
    with pytest.raises(PlanError, match="literal"):
        literal(value)


def test_names_are_quoted_whatever_is_in_them() -> None:
    assert to_sql(column('a"b c')) == '"a""b c"' == tree.quote('a"b c')


@pytest.mark.parametrize("text", ["a, b", "a FROM t", "", "a WHERE b", "SELECT 1 UNION SELECT 2"])
def test_only_one_expression_is_an_expression(text: str) -> None:
    with pytest.raises(SqlSyntaxError):
        parse(text)


def test_a_syntax_error_says_where_in_the_users_own_text() -> None:
    with pytest.raises(SqlSyntaxError) as caught:
        parse("a + (b *")
    assert (caught.value.line, caught.value.column) == (1, len("a + (b *"))


def test_columns_are_listed_once_in_order_of_appearance() -> None:
    assert tree.columns_of(parse("b + a * b - lower(c)")) == ["b", "a", "c"]


def test_replacing_a_column_keeps_precedence_and_the_original() -> None:
    original = parse("a * 2")
    assert to_sql(tree.replace_columns(original, {"a": parse("x + y")})) == "(x + y) * 2"
    assert to_sql(original) == "a * 2"
    assert to_sql(tree.replace_columns(parse("A + b"), {"a": column("z")})) == '"z" + b'


def test_a_conjunction_of_conjuncts_is_the_predicate() -> None:
    predicate = parse("a = 1 AND (b = 2 OR c = 3) AND (d AND e)")
    parts = list(conjuncts(predicate))
    assert [to_sql(part) for part in parts] == ["a = 1", "b = 2 OR c = 3", "d", "e"]
    joined = tree.conjunction(parts)
    assert joined is not None
    assert [to_sql(part) for part in conjuncts(joined)] == [to_sql(part) for part in parts]
    assert "(b = 2 OR c = 3)" in to_sql(joined), "OR binds less than AND"
    assert list(conjuncts(None)) == []
    assert tree.conjunction([]) is None


def test_an_equality_compares_whole_expressions() -> None:
    assert to_sql(tree.equality(parse("a = b"), parse("c OR d"))) == "(a = b) = (c OR d)"


@pytest.mark.parametrize(
    ("text", "deterministic"),
    [
        ("random() < 0.5", False), ("uuid()", False), ("a + abs(random())", False),
        ("gen_random_uuid()", False), ("nextval('s')", False), ("hash(a)", True), ("a", True),
    ],
)  # fmt: skip
def test_what_differs_from_run_to_run_is_known(text: str, deterministic: bool) -> None:
    assert tree.is_deterministic(parse(text)) is deterministic


def test_windows_and_subqueries_are_seen() -> None:
    assert tree.has_window(parse("1 + sum(a) OVER (PARTITION BY b)"))
    assert not tree.has_window(parse("sum(a)"))
    assert tree.has_subquery(parse("a IN (SELECT b FROM t)"))
    assert not tree.has_subquery(parse("a IN (1, 2)"))


@pytest.mark.parametrize(
    "text",
    [
        "regexp_replace(a, 'x.', '-', 'gl')",
        "regexp_replace(a, 'x', '-', 'i')",
        "regexp_extract_all(a, 'x', 0, 'l')",
    ],
)
def test_options_of_regular_expressions_are_the_kernels_business(text: str) -> None:
    written = to_sql(parse(text))
    asked = "SELECT {} FROM (SELECT 'x.xXx.' AS a)"
    assert duckdb.sql(asked.format(written)).fetchall() == duckdb.sql(asked.format(text)).fetchall()
