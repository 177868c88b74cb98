"""What is wrong with a query is said at once, with the place or with names that are near."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowgrid.api.sql import bind
from flowgrid.errors import ColumnNotFoundError, PlanError, SqlSyntaxError, TypeMismatchError
from tests.api.sql_answers import Answers

COVERS = ["sql.parsing", "sql.table_names", "sql.text"]


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    opened = Answers()
    yield opened
    opened.close()


def test_a_syntax_error_has_its_position(answers: Answers) -> None:
    with pytest.raises(SqlSyntaxError) as raised:
        answers.bind("SELECT a,\n  b FRM t WHERE")
    assert (raised.value.line, raised.value.column) == (2, 9)


def test_an_unknown_table_is_named_with_those_that_are_near(answers: Answers) -> None:
    with pytest.raises(PlanError, match="unknown table 'numbrs'; did you mean 'numbers'"):
        answers.bind("SELECT * FROM numbrs")
    with pytest.raises(PlanError, match=r"unknown table 'other\.t'"):
        answers.bind("SELECT * FROM other.t")


def test_a_common_table_expression_hides_a_table_only_where_it_is_seen(answers: Answers) -> None:
    answers.agree("SELECT * FROM (WITH u AS (SELECT a AS k FROM t) SELECT * FROM u) x, u")
    with pytest.raises(PlanError, match="unknown table 'q'"):
        answers.bind("SELECT * FROM (WITH q AS (SELECT 1) SELECT * FROM q) x, q")


def test_an_unknown_column_is_named_with_those_that_are_near(answers: Answers) -> None:
    with pytest.raises(ColumnNotFoundError, match=r"unknown column 'idd'.*did you mean 'id'"):
        answers.bind("SELECT idd FROM s")


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("SELECT a FROM t, v", PlanError),
        ("SELECT a + c FROM t WHERE a = [1]", TypeMismatchError),
        ("SELECT a, sum(b) FROM t", PlanError),
        ("SELECT a FROM t; SELECT b FROM t", SqlSyntaxError),
        ("", SqlSyntaxError),
        ("CREATE TABLE x (a INTEGER)", PlanError),
        ("PIVOT t ON c USING sum(b)", PlanError),
    ],
)
def test_a_query_that_cannot_mean_anything_is_refused(
    answers: Answers, text: str, error: type[PlanError]
) -> None:
    with pytest.raises(error):
        answers.bind(text)


def test_parameters_are_values_and_never_text(answers: Answers) -> None:
    query = answers.bind("SELECT a FROM t WHERE c = $wanted", wanted="x' OR 'x' = 'x")
    assert answers.rows(query) == []
    assert query.bound is not None
    assert answers.rows(query.bound) == []


def test_parameters_fit_by_name_and_by_position(answers: Answers) -> None:
    for text in (
        "SELECT a FROM t WHERE a = ? AND b = ?",
        "SELECT a FROM t WHERE b = $2 AND a = $1",
    ):
        assert answers.rows(bind(text, answers.tables, [1, 20])) == [(1,)]
    with pytest.raises(PlanError, match="parameter 'z' has no value"):
        answers.bind("SELECT $z")
    with pytest.raises(PlanError, match="no parameter 'y'"):
        answers.bind("SELECT $z", z=1, y=2)
