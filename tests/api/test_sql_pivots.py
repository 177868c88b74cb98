"""PIVOT and UNPIVOT are ordinary aggregates and lists: partitioned, with the kernel's rows and names."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import flowgrid as fg
from flowgrid.api.session import Session
from tests.api.sql_answers import Answers, multiset, one_task_parts, queries

COVERS = ["sql.pivots"]

PIVOTS = """
pivot t on c in ('x','y') using sum(b)
pivot t on c in ('x','y') using sum(b), count(*)
pivot t on c in ('x','y') using sum(b) as s, count(*) as n group by a
pivot t on a in (1,2), c in ('x', 'y') using count(*)
pivot t on c in ('x','y')
pivot t on c in ('x','y', null) using sum(b) group by a
pivot t on c in ('x','y') using coalesce(sum(b), 0) as q group by a
pivot t on c in ('x') using list(b order by b) group by a
pivot (select b, c from t where false) on c in ('x') using sum(b)
pivot t on d in (1, 2.5) using sum(b) group by c
select * from t pivot (sum(b) for c in ('x','y'))
select * from t pivot (sum(b) as s for c in ('x' as ex,'y') group by a)
select p.* from t pivot (sum(b), max(b) for c in ('x','y') a in (1,2)) p(q)
select * from t pivot (sum(b) for c in ('x','y') group by a) p join u on p.a = u.k
select x from (pivot t on c in ('x', 'y') using sum(b)) where x > 1
with q as (select a, b, c from t) select * from (pivot q on c in ('x') using sum(b))
"""

UNPIVOTS = """
unpivot t on a, b into name n value v
unpivot t on b into name n value v
unpivot (select a, b from t) on a, b
unpivot t on (a,b),(b,a) into name n value v, w
unpivot t on a+1 as q, b into name n value v
unpivot t on a as 'x', b
select * from t unpivot (v for n in (a, b))
select * from t unpivot include nulls (v for n in (a as 'q', b as 'r')) p
select * from t unpivot ((v, w) for n in ((a, b), (b, a) as 'r'))
select * from u join (unpivot t on a, b) q on q.value = u.v
"""

OPEN = """
pivot t on c using sum(b)
pivot t on a, c using count(*)
pivot t on upper(c) using sum(b) group by a
pivot t on a, c in ('x') using count(*) group by d
with q as (select * from t where a < 3) select * from (pivot q on c using sum(b) group by a)
"""


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    opened = Answers()
    yield opened
    opened.close()


@pytest.mark.parametrize("text", queries(PIVOTS))
def test_pivots_are_aggregates(answers: Answers, text: str) -> None:
    assert one_task_parts(answers.agree(text)) == []


@pytest.mark.parametrize("text", queries(UNPIVOTS))
def test_unpivots_are_lists(answers: Answers, text: str) -> None:
    assert one_task_parts(answers.agree(text)) == []


@pytest.mark.parametrize("text", queries(OPEN))
def test_a_session_finds_the_values_of_a_pivot(
    answers: Answers, session: Session, text: str
) -> None:
    session.register("t", answers.connection.table("t").to_arrow_table())
    frame = session.sql(text)
    relation = answers.connection.sql(text)
    assert frame.columns == relation.columns
    found = [tuple(row.values()) for row in frame.cast("VARCHAR").to_pylist()]
    expected = [tuple(None if v is None else str(v) for v in r) for r in relation.fetchall()]
    assert multiset(found) == multiset(expected)


def test_a_view_cannot_have_columns_that_depend_on_data(session: Session) -> None:
    session.register("n", session.range(3))
    with pytest.raises(fg.PlanError, match="depend on the data"):
        session.sql("CREATE VIEW v AS FROM (PIVOT n ON id USING count(*))")
    session.sql("CREATE TABLE v AS FROM (PIVOT n ON id USING count(*))")
    assert session.table("v").columns == ["0", "1", "2"]
    with pytest.raises(fg.PlanError, match="no value to make a column of"):
        session.sql("PIVOT (FROM n WHERE id > 5) ON id USING count(*)")
