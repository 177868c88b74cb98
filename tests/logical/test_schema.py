"""Schemas are the kernel's own, and so are its refusals, in our words."""

from __future__ import annotations

import datetime

import pyarrow as pa
import pytest

from flowgrid.errors import ColumnNotFoundError, PlanError, SqlSyntaxError, TypeMismatchError
from flowgrid.expr.tree import parse, to_sql
from flowgrid.logical.nodes import Filter, IntegerRange, Leaf, Limit, Named, Node, Project, Write
from flowgrid.logical.schema import (
    aggregate_functions,
    arrow_schema,
    describe,
    evaluate,
    evaluate_constants,
    schema_of,
)
from flowgrid.protocol.fragment import Field

LEAF = Leaf((Field("i", "INTEGER"), Field("d", "DECIMAL(9,2)"), Field("t", "VARCHAR")))


def project(*texts: str) -> Project:
    return Project(LEAF, tuple(Named(f"c{i}", parse(text)) for i, text in enumerate(texts)))


def types(node: Node) -> list[str]:
    return [field.type for field in schema_of(node)]


def test_types_are_what_the_kernel_says() -> None:
    assert types(project("i + 1", "d * d", "i::HUGEINT", "[t]", "{'a': i}", "NULL")) == [
        "INTEGER", "DECIMAL(18,4)", "HUGEINT", "VARCHAR[]", "STRUCT(a INTEGER)", '"NULL"',
    ]  # fmt: skip


def test_a_schema_is_asked_once_and_built_on() -> None:
    below = project("i")
    schema_of(below)
    assert schema_of(below) is schema_of(below)
    assert schema_of(Limit(below, 1)) == schema_of(below)
    assert schema_of(Write(below, "/out", "csv")) == ()


def test_a_long_plan_has_a_schema() -> None:
    node: Node = IntegerRange((Field("id", "BIGINT"),), 0, 10, 1)
    for _ in range(50):
        node = Filter(node, parse("id > 0"))
        schema_of(node)
    assert schema_of(node) == (Field("id", "BIGINT"),)


def test_an_unknown_column_is_named_with_the_near_ones() -> None:
    with pytest.raises(ColumnNotFoundError, match="nosuch"):
        schema_of(project("nosuch + 1"))


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        ("t + 1 = [2]", TypeMismatchError, "Cast one side"),
        ("nosuchfunction(i)", PlanError, "nosuchfunction"),
        ("regexp_matches(i, d)", TypeMismatchError, "regexp_matches"),
    ],
)
def test_what_cannot_mean_anything_is_refused_in_few_words(
    text: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        schema_of(project(text))
    assert len(str(caught.value).splitlines()) == 1, "no list of a hundred candidates"
    assert "Binder Error" not in str(caught.value)


def test_a_query_that_is_no_sql_is_a_syntax_error() -> None:
    with pytest.raises(SqlSyntaxError):
        describe("SELECT FROM WHERE")


def test_arrow_types_are_those_of_a_result() -> None:
    fields = (Field("a", "DECIMAL(9,2)"), Field("b", "TIMESTAMP"), Field("c", "INTEGER[]"))
    found = arrow_schema(fields)
    assert found.names == ["a", "b", "c"]
    assert pa.types.is_decimal(found.field("a").type)
    assert found.field("b").type == pa.timestamp("us")
    assert pa.types.is_list(found.field("c").type)
    assert arrow_schema(()) == pa.schema([])


def constants(*texts: str) -> list[str]:
    return [to_sql(one) for one in evaluate_constants([parse(text) for text in texts])]


def test_constants_become_literals_of_the_same_type() -> None:
    found = constants("1 + 2", "2 - 5", "'a' || 'b'", "1 > 2", "DATE '2024-01-31' + 1", "0.1 + 0.2")
    assert found[:4] == ["3", "CAST('-3' AS INT)", "'ab'", "FALSE"]
    assert found[4:] == ["CAST('2024-02-01' AS DATE)", "CAST('0.3' AS DECIMAL(3, 1))"]
    assert constants("NULL::INTEGER + 1") == ["CAST(NULL AS INT)"]


def test_a_constant_that_raises_is_left_for_the_query_to_raise() -> None:
    assert constants("1 + 1", "'x'::INTEGER", "2 + 2") == ["2", "CAST('x' AS INT)", "4"]


def test_a_constant_whose_text_would_lose_something_stays() -> None:
    assert constants("[1, 2]", "'\\x00'::BLOB") == ["[1, 2]", "CAST('\\x00' AS BLOB)"]


def test_a_value_is_asked_of_the_kernel_and_the_kernel_stays_free() -> None:
    assert evaluate("SELECT DATE '2024-02-29'") == datetime.date(2024, 2, 29)
    with pytest.raises(PlanError):
        evaluate("SELECT 'x'::INTEGER")
    evaluate_constants([parse("1 + 1")])
    assert arrow_schema((Field("a", "INTEGER"),)).names == ["a"], "no open result is in the way"


def test_aggregates_are_known_by_name() -> None:
    assert {"sum", "count_star", "arg_max", "quantile_cont"} <= aggregate_functions()
    assert not {"abs", "row_number"} & aggregate_functions()
