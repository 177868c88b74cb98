"""LIMIT in per cent and by subqueries is the kernel's; a sample in per cent is seeded."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowgrid.api.session import Session
from flowgrid.logical.nodes import Sample
from flowgrid.logical.rendering import topological
from tests.api.sql_answers import Answers, one_task_parts, queries

COVERS = ["sql.computed_limits"]

LIMITS = """
select a, b, c, d from t order by a, b, c, d limit 30%
select a, b, c, d from t order by a, b, c, d limit 33.3% offset 2
select a, b, c, d from t order by a desc nulls first, b, c, d limit 100%
select a, b, c, d from t order by a, b, c, d limit (select 3)
select a, b, c, d from t order by a, b, c, d limit 2+1 offset (select 1)
select a, b, c, d from t order by a, b, c, d limit (select count(*) from v) offset (select min(k)
    from u)
select a, b, c, d from t order by a, b, c, d limit (select null)
select distinct a from t order by a limit 50%
select a, sum(b) from t group by a order by a, 2 limit 40%
select a + 1 from t order by a + 1 desc, b, c, d limit 40%
"""

COUNTED = """
select count(*) from (select a from t limit 50%)
select count(*) from (select a from t limit (select 4))
select count(*) from t where a in (select a from v order by a limit (select 2))
"""


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    opened = Answers()
    yield opened
    opened.close()


@pytest.mark.parametrize("text", queries(LIMITS))
def test_as_many_rows_are_left_as_the_kernel_leaves(answers: Answers, text: str) -> None:
    assert one_task_parts(answers.agree(text, in_order=True)) == []


@pytest.mark.parametrize("text", queries(COUNTED))
def test_rows_in_no_order_are_counted_alike(answers: Answers, text: str) -> None:
    assert one_task_parts(answers.agree(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "SELECT * FROM t USING SAMPLE 25%",
        "SELECT * FROM t USING SAMPLE 25 PERCENT (bernoulli, 7)",
        "SELECT * FROM t TABLESAMPLE bernoulli(25%) REPEATABLE (7)",
        "SELECT x.* FROM t x(p, q, r, s) TABLESAMPLE 25% WHERE p > 1",
    ],
)
def test_a_sample_in_per_cent_draws_every_row_for_itself(answers: Answers, text: str) -> None:
    (sample,) = (node for node in topological(answers.plan(text)) if isinstance(node, Sample))
    assert sample.fraction == 0.25
    assert sample.seed == 7 or "7" not in text


def test_a_sample_is_drawn_before_rows_are_filtered(session: Session) -> None:
    session.register("n", session.range(10_000))
    text = "SELECT count(*) AS n FROM n WHERE id < 5000 USING SAMPLE 10% (bernoulli, 3)"
    (row,) = session.sql(text).to_pylist()
    assert 350 < row["n"] < 650
