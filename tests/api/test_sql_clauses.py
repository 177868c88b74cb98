"""Every clause of SELECT as a partitioned plan has the rows that DuckDB gives for the text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from flowgrid.logical.nodes import Aggregate
from flowgrid.logical.rendering import topological
from tests.api.sql_answers import Answers, one_task_parts, queries

COVERS = [
    "sql.expressions",
    "sql.from_clause",
    "sql.grouping",
    "sql.ordering",
    "sql.scopes",
    "sql.select_clause",
    "sql.select_list",
    "sql.set_operations",
    "sql.unnesting",
]

FROM_AND_STARS = """
select * from t
select a, b+1 from t where a > 1
select t.*, u.v as q from t join u on t.a=u.k
select * from t join v using (a)
select * from t left join v using (a)
select * from t right join v using (a)
select * from t full join v using (a)
select a, t.a, v.a, e from t full join v using (a)
select * from t natural join v
select * from t semi join v using (a)
select t.a, u.v from t asof join u on t.c = u.w and t.a >= u.k
select t.a, u.v from t asof left join u on t.c = u.w and t.a >= u.k
select c, a, q.a, t.c, q.c from t asof left join (select a, max(e) as e, 'x' as c from v group by
    a) q using (c, a)
select t.a, t.b, q.e from t asof left join (select max(e) as e, a from v group by a) q on t.a < q.a
select * from t anti join v on t.a=v.a
select * from t, u where a=k
select * from t cross join v
select * from t t1, t t2 where t1.a=t2.a and t1.b<t2.b
select * from t, u right join v on u.k=v.a
select * exclude (c) from t
select * exclude c replace (a*2 as a) from t
select * rename (a as z) from t
select t.* exclude (a, b), u.* from t, u where a = k
select * like 'a%' from t
select * not like 'a%', t.* similar to 'a|b' from t
"""

COLUMNS = """
select columns('a|b') from t
select columns(*)+1 from (select a,b from t)
select min(columns(*)), max(columns(*)) from t
select columns(lambda c: c like 'a%') from t
select columns(* exclude (c,d)) + 1 from t
select columns(* replace (a+1 as a)) from t
select columns(['b','a']) from t
select columns('a') as 'x' from t
select * from t where columns(['a','b']) > 1
select a, sum(columns('b|d')) from t group by all order by all
select max(columns('a|b')) + min(columns('a|b')) from t group by c
select columns(t.*) from t, u where a = k
select columns(*) from t join v using (a)
select columns('a')::varchar from t
select row_number() over (order by columns('a|b'), b, c, d) from t
select (select max(columns('a')) from v where v.a = t.a) from t
select a from (select min(columns('a|b')) from t) q
"""

ALIASES_AND_GROUPS = """
select a as x, x+1 as y, y*2 from t where x > 1
select a%2 as p, sum(b), count(*) from t group by p order by sum(b)
select a%2 as p, sum(b) s from t group by 1 having s > 10 order by 2 desc
select a, c, sum(b) from t group by all
select c, sum(b)+1 as z from t group by c having count(*) > 1 and z > 3
select lower(c) l, max(a) from t group by lower(c) order by lower(c) desc
select count(*), sum(a), avg(d), min(c) from t
select count(*), sum(v) from empty
select a, count(*) filter (where b > 10) from t group by a
select a, string_agg(c, ',' order by c, b) from t group by a
select quantile_cont(d, 0.5), mode() within group (order by a) from t
select a, c, grouping(a) g, sum(b) from t group by rollup(a, c)
select a, c, sum(b) from t group by cube(a, c) having sum(b) > 10
select a, c, sum(b) from t group by grouping sets ((a), (c), ())
select a, c, d, sum(b) from t group by a, rollup(c, d)
select a, count(distinct b) from t group by a order by count(*) desc, a
"""

WINDOWS_AND_ORDER = """
select a, row_number() over (partition by a order by b, c, d) from t
select a, sum(b) over (order by a, b, c, d rows between 1 preceding and current row) from t
select a, sum(sum(b)) over (order by a) from t group by a
select a, b, rank() over w, sum(b) over w from t window w as (partition by a order by b)
select a, b, sum(b) over (w order by b) from t window w as (partition by a)
select a, b from t qualify row_number() over (partition by a order by b) = 1
select a, row_number() over (partition by a order by b) as r from t qualify r = 1
select c, sum(b) s, rank() over (order by sum(b) desc) from t group by c qualify rank() over (order
    by sum(b) desc) <= 2
select distinct a from t
select distinct a, c from t order by a, c
select distinct on (a) a, b from t order by a, b desc nulls last, c
select distinct on (a) b from t order by a, b, c
select a from t order by b, c, d limit 3
select a, b from t order by all limit 4 offset 1
select a, b from t order by b desc nulls first, a, c limit 2+1
select a from t order by b+a, c
select a as b, b as a from t order by a
select a as b, b as a from t order by a+0
select -a as a from t where a > 0 order by a
"""

DERIVED_TABLES_AND_SETS = """
select * from (values (1,2),(3,4)) x(p,q) where p > 1
select * from (select a, sum(b) s from t group by a) q where s > 10
select q.s from (select a, sum(b) s from t group by a) as q(z, s) where z = 1
select * from (select a, a from t) q
select a, a from t
with q as (select a, sum(b) s from t group by a) select * from q where s > 10
with q as (select a, sum(b) s from t group by a) select * from q q1 join q q2 on q1.a = q2.a + 1
with q as (select a, sum(b) s from t group by a), r as (select max(s) m from q) select * from q, r
    where s = m
with q(x) as (select a from t) select x from q union all select v from u
with q as (select * from t), t as (select 5 as a) select q.a, t.a from q, t
select a from t union select k from u
select a from t union all select k from u order by 1 limit 5
select a from t union all select k from u order by -a limit 3
select a from t intersect select k from u
select a from t intersect all select k from u
select a from t except select k from u
select a from t except all select k from u
select a, b from t union by name select v as b, w as c from u
select a, b from t union all by name select v as b, w as c from u
(select a from t order by a, b limit 2) union all (select k from u order by k limit 1)
select a from t union select k from u except select a from v
select st.x, s.st.y.z, st.y from s
select s, id from s
select t from t where t.a = 1
select l[1], list_transform(l, lambda y: y + id) from s
select [z + 1 for z in l if z > 1] from s
select id, st['x'], len(l) from s where st.x > 1
with q as (select a, sum(b) s from t group by a) select * from q where s > (select avg(s) from q)
with q as (select a, sum(b) s from t group by a) select * from q q1 where s >= (select max(s) from
    q q2 where q2.a >= q1.a)
select * from range(3) r(i), t where t.a = i
select count(*) c from t having c > 1
select sum(b) as b from t having b > 1
from t select a where a = 1
from t
select nullif(a, 1) n, count(*) from t group by all order by all
"""


UNNEST = """
select id, x from s, unnest(l) as z(x)
select id, x from s left join unnest(s.l) as z(x) on true
select id, x from s join unnest(l) as z(x) on x > id
select id, x from s left join unnest(l) as z(x) on x > 2
select id, unnest from s, unnest(l)
select id, x from s, unnest(l) as x
select id, unnest(l) + 1 as y from s order by y desc
select unnest(l) as x, count(*) from s group by l
select distinct unnest(l), unnest(l) from s
select id, unnest(l), unnest([7, 8]) + id, id * 2 from s
select unnest(l), unnest(null::integer[]) from s
select a, unnest(list(b)), unnest(list(c order by c)) from t group by a
select id from s where id in (select unnest([1, 2]) + unnest([0, 1, 2]))
select unnest(list(a)) from t
select * from s, lateral (select unnest(s.l) as e) q
select x, count(*) from (select unnest(l) as x from s) group by x
select unnest(m) from (select list_transform(l, lambda y: y * 2) as m from s) q
select * from unnest([1, 2, null]) u(x)
select * from t where a in (select unnest([1, 2]))
select id, (select sum(x) from unnest(l) z(x)) from s
select id, (select max(x) from (select unnest(l) as x) q) from s
select id from s where exists (select 1 from unnest(l) z(x) where x > 2)
select id from s where 2 in (select unnest(s.l))
"""


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    opened = Answers()
    yield opened
    opened.close()


@pytest.mark.parametrize("text", queries(FROM_AND_STARS))
def test_tables_and_joins_mean_what_they_mean_to_the_kernel(answers: Answers, text: str) -> None:
    assert one_task_parts(answers.agree(text)) == []


@pytest.mark.parametrize("text", queries(COLUMNS))
def test_a_pattern_means_the_columns_that_it_means_to_the_kernel(
    answers: Answers, text: str
) -> None:
    assert one_task_parts(answers.agree(text)) == []


@pytest.mark.parametrize("text", queries(ALIASES_AND_GROUPS))
def test_aliases_and_groups_mean_what_they_mean_to_the_kernel(answers: Answers, text: str) -> None:
    assert one_task_parts(answers.agree(text)) == []


@pytest.mark.parametrize("text", queries(WINDOWS_AND_ORDER))
def test_windows_and_order_mean_what_they_mean_to_the_kernel(answers: Answers, text: str) -> None:
    assert one_task_parts(answers.agree(text)) == []


@pytest.mark.parametrize("text", queries(DERIVED_TABLES_AND_SETS))
def test_derived_tables_and_sets_mean_what_they_mean_to_the_kernel(
    answers: Answers, text: str
) -> None:
    answers.agree(text)


@pytest.mark.parametrize("text", queries(UNNEST))
def test_lists_become_rows(answers: Answers, text: str) -> None:
    assert one_task_parts(answers.agree(text)) == []


def test_an_order_that_fixes_every_row_is_kept(answers: Answers) -> None:
    answers.agree("SELECT a, b, c FROM t ORDER BY b DESC, a NULLS FIRST, c", in_order=True)
    answers.agree("SELECT c FROM t ORDER BY a DESC NULLS FIRST, b, d LIMIT 4", in_order=True)
    answers.agree("SELECT a FROM t UNION SELECT k FROM u ORDER BY a DESC LIMIT 3", in_order=True)


def test_a_common_table_expression_is_one_node_for_all_its_uses(answers: Answers) -> None:
    text = "WITH q AS (SELECT a, sum(b) s FROM t GROUP BY a) SELECT * FROM q x, q y WHERE x.a = y.a"
    plan = answers.agree(text)
    assert len([node for node in topological(plan) if isinstance(node, Aggregate)]) == 1


def test_columns_with_the_same_name_are_numbered_as_the_kernel_does(answers: Answers) -> None:
    assert answers.bind("SELECT a, a, b AS A FROM t").columns == ("a", "a_1", "A_2")
    assert answers.bind("SELECT 1 AS x UNION ALL SELECT 2").columns == ("x",)
