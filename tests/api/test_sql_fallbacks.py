"""What has no partitioned plan runs as one task, and the plan says which part and why."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.api.sql_answers import Answers, multiset, one_task_parts

COVERS = ["sql.binder", "sql.kernel_queries"]


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    opened = Answers()
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("SELECT 1", "one row"),
        ("VALUES (1, 2), (3, 4)", "VALUES"),
        ("SELECT a, c FROM t ASOF FULL JOIN u ON t.a >= u.k", "ASOF FULL JOIN"),
        ("SELECT unnest(st) FROM s", "unnest of STRUCT(x INTEGER, y STRUCT(z VARCHAR))"),
        ("SELECT unnest([{'a': 1}], recursive := true)", "unnest with options"),
        (
            "SELECT coalesce(*columns(['a', 'b'])) FROM t",
            "COLUMNS(…) unpacked, or several that differ",
        ),
        ("SELECT * ILIKE 'A%' FROM t", "* ILIKE"),
        (
            "PIVOT t ON c IN (SELECT 'x') USING sum(b)",
            "PIVOT ON something else than a list of values",
        ),
        ("SELECT ARRAY(SELECT k FROM u ORDER BY k)", "ARRAY(SELECT …)"),
    ],
)
def test_a_whole_query_as_one_task_says_why(answers: Answers, text: str, reason: str) -> None:
    query = answers.bind(text)
    assert (query.bound, query.reason) == (None, reason)
    assert multiset(answers.rows(query)) == multiset(answers.expected(text))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (
            "WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r WHERE n < 5) "
            "SELECT t.a, n FROM t, r WHERE t.a = n",
            "the recursive query 'r'",
        ),
        ("SELECT * FROM t WHERE a IN (FROM (VALUES (1), (3)) x)", "VALUES"),
        ("SELECT * FROM glob('*') g(f), t WHERE t.c = f", "the table function GLOB('*')"),
    ],
)
def test_only_the_part_that_cannot_be_partitioned_is_one_task(
    answers: Answers, text: str, reason: str
) -> None:
    assert one_task_parts(answers.agree(text)) == [reason]
