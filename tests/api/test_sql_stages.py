"""The wider constructs of SQL, through stages in which every exchange is forced."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowgrid.optimizer.optimizer import optimize
from tests.api.sql_answers import Answers, multiset, queries
from tests.stage_runner import StageRunner

FORCED: dict[str, object] = {"planner.force_exchanges": True, "planner.partitions": 3}

TEXTS = """
select x, count(*)::bigint from (select unnest(l) as x, unnest([7, 8, 9]) as y from s, range(200)
    r(i)) group by x
pivot t on c in ('x', 'y') using sum(b)::bigint group by a
unpivot t on a, b into name n value v
select t.a, u.v from t asof left join u on t.c = u.w and t.a >= u.k
select a, b, c, d from t order by a, b, c, d limit 40%
select * from t order by a, b, c, d limit (select 3) offset 1
select sum(columns('a|b'))::bigint from t
select a, (sum(b) over (order by b))::bigint from t where b is not null
"""


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    opened = Answers()
    yield opened
    opened.close()


@pytest.mark.parametrize("text", queries(TEXTS))
def test_small_data_walks_the_big_datas_way(answers: Answers, tmp_path: Path, text: str) -> None:
    runner = StageRunner(tmp_path, 3, FORCED, partition_bytes=60)
    rows = runner.run(optimize(answers.plan(text))).to_pylist()
    found = [tuple(row.values()) for row in rows]
    assert multiset(found) == multiset(answers.expected(text))
    notes = [line for line in runner.stages.splitlines() if line.startswith("note: ")]
    assert set(notes) <= {"note: gathered to one task: one row"}
