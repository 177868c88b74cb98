"""Subqueries in every place, with NULLs, duplicates and empty tables: the rows are DuckDB's."""

from __future__ import annotations

from collections.abc import Iterator

import duckdb
import pytest

from tests.api.sql_answers import Answers, one_task_parts, queries

COVERS = ["sql.subqueries"]

CASES = """
select count(*) from t where a in (select k from u)
select * from t where a in (select k from u)
select * from t where a not in (select k from u)
select * from t where a not in (select k from u where k is not null)
select * from t where a not in (select k from empty)
select * from t where not (a in (select k from u where k is not null))
select * from t where a in (select k from empty)
select * from t where exists (select 1 from u)
select * from t where exists (select * from empty)
select * from t where not exists (select * from empty)
select * from t where exists (select 1 from u where k = a)
select * from t where not exists (select 1 from u where k = a)
select * from t where exists (select 1 from u where k = a and v > b)
select * from t where exists (select 1 from u where k <> a)
select * from t where exists (select 1 from u where k = a and v <> b) and not exists (select 1 from
    v where v.a = t.a and e > 220)
select * from t where exists (select count(*) from u where k = a)
select * from t where not exists (select count(*) from u where k = a)
select * from t where exists (select count(*) from u where k = a group by w)
select * from t where exists (select k from u where k = a limit 1)
select * from t where exists (select k from u where k = a order by v limit 1 offset 1)
select * from t where a in (select k from u where v = b)
select * from t where a not in (select k from u where w = c)
select * from t where a not in (select k from u where w = c and k is not null)
select * from t where b not in (select v from u where k = a)
select * from t where (a, b) in (select k, v from u)
select * from t where (a, b) not in (select k, v from u)
select * from t where (a, b) not in (select k, v from u where k is not null and v is not null)
select a, (a, b) in (select k, v from u) from t
select a, a in (select k from u) from t
select a, a not in (select k from u where k is not null) from t
select a, a in (select k from empty) from t
select a, b, b in (select v from u where k = a) from t
select a, b, b not in (select v from u where k = a) from t
select a, exists (select 1 from u where k = a) from t
select a, exists (select 1 from u where k > a) from t
select a, not exists (select 1 from u) from t
select a, case when exists (select 1 from u where k = a and v > 10) then 'y' else 'n' end from t
select * from t where exists (select 1 from u where k = a) or b = 30
select * from t where exists (select 1 from u where k = a and v > b) or a in (select a from v) or b
    is null
select * from t where b > (select min(v) from u)
select * from t where b > (select min(v) from u where k = a)
select * from t where b = (select max(v) from u where u.k = t.a and w = 'x')
select a, (select count(*) from u where k = a) from t
select a, (select count(v) from u where k = a and v > 10) + 1 from t
select a, (select count(*) from u where k = a having count(*) > 1) from t
select a, (select coalesce(sum(v), -1) from u where k = a) from t
select a, (select sum(v) from u where k < a) from t
select a, (select count(*) from u where k < a or v = b) from t
select a, (select count(*) from u where k is not distinct from a) from t
select a, (select max(v) + a from u where k = a) from t
select a, (select max(v + a) from u where k = a) from t
select a, (select a + 1) from t
select a, (select b where a > 1) from t
select a, (select k from u where k = 5) from t
select a, (select distinct k from u where k = a) from t
select a, (select v from u where k = a order by v desc nulls last limit 1) from t
select a, (select v from u where k = a order by v nulls first, w limit 1 offset 1) from t
select a, (select v from u where k > a order by v, k limit 1) from t
select a, (select v from u order by v limit 1) from t
select a, (select max(e) from v where v.a = (select min(k) from u where u.k >= t.a)) from t
select a from t where exists (select 1 from u where u.k = t.a and exists (select 1 from v where v.a
    = u.k and v.e > t.b))
select a from t where exists (select 1 from u where u.k = t.a and u.v in (select e / 10 from v
    where v.a = t.a))
select a, (select sum(v) from u where k = a and v > (select min(e) / 10 from v where v.a = t.a))
    from t
select a, (select sum(v) from u where k = a and exists (select 1 from v where v.a = t.a and v.a =
    u.k)) from t
select a, sum(b) from t group by a having sum(b) > (select min(v) from u)
select a, sum(b) from t group by a having sum(b) > (select min(v) from u where k = a)
select a, sum(b) from t group by a having exists (select 1 from u where k = a)
select a, sum(b), (select max(v) from u where k = a) from t group by a
select (select max(v) from u where k = t.a) m, count(*) from t group by m
select (select max(v) from u where k = t.a) m, count(*) from t group by 1 order by 1
select * from t where b > all (select v from u where v is not null)
select * from t where b >= all (select v from u where k = a)
select * from t where b < any (select v from u)
select a, b, b < any (select v from u where k = a) from t
select a, b, b <> all (select v from u where k = a) from t
select a, b, b <> any (select v from u where k = a) from t
select a, b, b = any (select v from u where k = a) from t
select a, b, b = all (select v from u where k = a) from t
select a, b, b >= all (select v from u where k = a) from t
select a, b > all (select v from empty), b > any (select v from empty) from t
select * from t where b <> all (select v from u where k = a)
select * from t where a = any (select k from u)
select a, (select max(x) from (select v as x from u where k = a union all select e from v where v.a
    = t.a) q) from t
select a, (select count(*) from (select v as x from u where k = a union select e from v where v.a =
    t.a) q) from t
select a, (select count(*) from (select v from u where k = a intersect select b from t t2 where
    t2.a = t.a) q) from t
select a, (select max(r) from (select row_number() over (order by v) r from u where k = a) q) from
    t
select a, (select max(r) from (select row_number() over (order by v) r from u where k <= a) q) from
    t
select a, (select max(cnt) from (select w, count(*) cnt from u where k = a group by w) q) from t
select a, (select max(cnt) from (select w, count(*) cnt from u where k <= a group by w) q) from t
select a, (select count(*) from u left join v on u.k = v.a and v.e > t.b where u.k = t.a) from t
select a, (select count(*) from u join v on u.k = v.a and v.e > t.b) from t
select a, (select count(e) from u full join v on u.k = v.a where u.k = t.a or v.a = t.a) from t
select a, (select count(*) from (select * from u where k = a) x full join (select * from v where
    v.a = t.a) y on x.v = y.e) from t
select a, (select count(*) from (select * from u where k < a) x left join (select * from v where
    v.a < t.a) y on x.k = y.a) from t
select a, (select count(*) from u semi join (select * from v where v.a = t.a) y on u.k = y.a) from
    t
select * from t, lateral (select * from u where k = a) x
select * from t, (select v, w from u where k = t.a order by v limit 1) x
select * from t left join lateral (select max(v) m from u where k = a) x on true
select * from t join lateral (select count(*) n from u where k = a) x on n > 0
select * from t left join lateral (select v from u where k = a) x on x.v > b
select * from t left join lateral (select count(*) n from u where k = a) x on n > 1
select * from t left join lateral (select v + b as vb from u where k = a) x on true
select * from t, lateral (select t.a + 1 as z) x, lateral (select z * 2 as y) q
select * from t join u on t.a = u.k and exists (select 1 from v where v.a = t.a)
select * from t join u on t.a = u.k and u.v = (select max(v) from u u2 where u2.k = t.a)
select count(*) from t where a in (select k from u where v in (select b from t t2 where t2.c =
    t.c))
select a, (select sum(t2.b) from t t2 where t2.a = t.a and t2.c <> t.c) from t
select t.a, u.k from t left join u on t.a = u.k and u.v > 10 where t.b in (select v from u u2 where
    u2.k = u.k)
select a from t where a = (select k from u where v = 50) or a = 1
select (select (select max(v) from u where k = t.a)) from t
select (select (select max(v) from u where k = t.a) + t.b) from t
select (select count(*) from (select (select v.e + u.k) from v where v.a = u.k) z) from u
select a, (with z as (select v from u where k = a) select max(v) from z) from t
select a, (with z as (select v from u where k = a) select count(*) from z z1, z z2) from t
select min(a) from t where a > (select sum(k) from u where k = 99)
select a, (select any_value(w) from u where k = a) is null from t
select a, b, (select count(*) from u where k = a and v = b) from t
select d, (select count(*) from t t2 where t2.a = t.d) from t
select c, (select max(v) from u where w = c) from t
select a, (select sum(k) from u where cast(v as varchar) = b) from t
select a, (select bool_or(v > 10) from u where k = a) from t
select a, (select list(v order by v) from u where k = a) from t
select a, exists (select 1 from u where k = a union select 1 from v where v.a = t.a) from t
select a from t where exists (select k from u where k = a except select v.a from v)
select a, (select distinct on (k) v from u where k = a order by v) from t
select a, (select max(v) filter (where w = c) from u where k = a) from t
select a, (select max(v) from u where k = a group by ()) from t
select a, (select max(m) from (select k, max(v) m from u group by grouping sets ((k), (w))) q where
    q.k = t.a) from t
select a, (select max(m) from (select k, max(v) m from u where k <= t.a group by grouping sets
    ((k), (w))) q) from t
select a from t where a < all (select k from u where k > 4)
select a, sum(b) from t group by a having a in (select k from u)
select max(a) from t having max(a) > (select min(k) from u)
select a, (select u.k from u where u.k = t.a and u.v = 30) from t where t.b is not null
select a, b from t where b = (select max(b) from t t2 where t2.a = t.a) order by a
select coalesce(a, 0) z, count(*) from t group by z having z in (select k from u)
select sum(a) from t where a not in (select k from u where k = t.a)
select t.a from t where exists(from u where u.k = t.a)
select a from t where a between (select min(k) from u) and (select max(k) from u)
select a + (select max(k) from u) z from t where z > 6
select t1.a from t t1 where t1.b = (select max(t2.b) from t t2 where t2.a = t1.a and t2.b < (select
    max(t3.b) from t t3 where t3.a = t2.a and t3.a = t1.a))
select * from t where (select count(*) from u where k = a) = 0
select a, sum((select max(v) from u where k = t.a)) from t group by a
select a from t order by (select max(v) from u where k = a) nulls first, b, c
select a, row_number() over (order by (select max(v) from u where k = a), a, b) from t
select * from (select a, exists (select 1 from u where k = a) ex from t) q where ex
select a from t where (select true)
select a from t where (select null::boolean)
"""


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    opened = Answers()
    yield opened
    opened.close()


@pytest.mark.parametrize("text", queries(CASES))
def test_a_subquery_means_what_it_means_to_the_kernel(answers: Answers, text: str) -> None:
    assert one_task_parts(answers.agree(text)) == []


@pytest.mark.parametrize(
    "text",
    [
        "SELECT a, (SELECT k FROM u) FROM t",
        "SELECT a, (SELECT v FROM u WHERE k = a) FROM t",
        "SELECT a, (SELECT v FROM u WHERE k <= a) FROM t",
    ],
)
def test_a_second_row_of_a_scalar_subquery_is_the_kernels_error(
    answers: Answers, text: str
) -> None:
    with pytest.raises(duckdb.Error, match="More than one row returned by a subquery"):
        answers.rows(answers.plan(text))


def test_values_that_are_converted_to_be_compared_do_not_share_groups(answers: Answers) -> None:
    """'1' and '01' are different texts and the same number."""
    answers.agree("SELECT a, (SELECT sum(x) FROM numbers WHERE a = n) FROM t")
    answers.agree("SELECT a, (SELECT count(*) FROM numbers WHERE n = a) FROM t")
    answers.agree("SELECT a, (SELECT count(*) FROM numbers WHERE x = a) FROM t")
    answers.agree("SELECT a, exists(SELECT 1 FROM numbers WHERE n = a) FROM t")
