"""Queries that once had another answer than DuckDB's, as the search found them, made small."""

from __future__ import annotations

import pytest

from tests.differential.case import SPLIT_BYTES, Case, Shape, check
from tests.differential.tables import Table

T = Table("t", (("k", "i"), ("v", "i"), ("o", "o")), (
    ("1", "10", "NULL"), ("1", "20", "NULL"), ("2", "10", "true"), ("NULL", "5", "false"),
    ("3", "NULL", "NULL"), ("0", "7", "true"),
))  # fmt: skip
EMPTY = Table("nothing", (("k", "i"),), ())

FORCED: dict[str, object] = {
    "planner.force_exchanges": True,
    "planner.partitions": 3,
    "planner.split_bytes": SPLIT_BYTES,
}
BY_SIZE: dict[str, object] = {
    "planner.partitions": 3,
    "planner.target_partition_bytes": 200,
    "planner.broadcast_bytes_max": 300,
}
"""Some relations are small by these limits, and some are not."""

FOUND = {
    "a rollup without aggregates has a total": "SELECT k FROM t GROUP BY ROLLUP (k)",
    "a grand total of no rows is a row": "SELECT k, grouping(k) FROM nothing GROUP BY ROLLUP (k)",
    "grouping() knows a key in brackets": "SELECT grouping((coalesce(k, 0))), count(*) FROM t "
    "GROUP BY ROLLUP ((coalesce(k, 0)))",
    "count_if of nothing but NULL is NULL": "SELECT count_if(o) FROM t WHERE k = 1",
    "count_if of an empty group is NULL": "SELECT k, (SELECT count_if(u.o) FROM t u "
    "WHERE u.v = t.k) AS n FROM t",
    "joins with two relations without columns": "SELECT a.k FROM t a LEFT JOIN (SELECT u.k FROM t u, "
    "t w, t x) b ON a.k = b.k",
    "a correlated WITH query below a part that is one task": "WITH w AS (SELECT k, (SELECT max(v) "
    "FROM t u WHERE u.k = t.k) m FROM t) SELECT k, (SELECT max(a.m) FROM w a POSITIONAL JOIN "
    "nothing b) AS m FROM t",
}  # fmt: skip


@pytest.mark.parametrize("query", FOUND.values(), ids=FOUND.keys())
def test_it_stays_found(query: str) -> None:
    for shape in (Shape(3, FORCED), Shape(3, FORCED, optimized=False), Shape(3, BY_SIZE)):
        check(Case((T, EMPTY), query, shape=shape))


U = Table(
    "u", (("k", "i"), ("b", "i")), (("1", "1"), ("1", "2"), ("2", "3"), ("9", "1"), ("9", "2"))
)
SECOND = "SELECT k, (SELECT b FROM u WHERE u.k = t.k) AS x FROM t"
UNREAD = {
    "its row": f"SELECT k FROM ({SECOND})",
    "its row, counted": f"SELECT count(*) FROM ({SECOND})",
    "its row, in a semi join": f"SELECT k FROM t SEMI JOIN ({SECOND}) AS s USING (k)",
    "its row, in a subquery": f"SELECT k FROM t WHERE EXISTS (SELECT s.k FROM ({SECOND}) AS s "
    "WHERE s.k = t.k)",
    "a row without an equality": "SELECT k FROM (SELECT k, (SELECT b FROM u WHERE u.k > t.k) FROM t)",
    "a row that is lent only a value": "SELECT k FROM (SELECT k, (SELECT b + t.k FROM u) FROM t)",
    "rows that nobody meets": f"SELECT k FROM ({SECOND} WHERE k <> 1)",
    "rows that are dropped": f"SELECT k FROM ({SECOND}) WHERE k <> 1",
    "the same rows for all": "SELECT k FROM (SELECT k, (SELECT b FROM u) FROM t)",
    "the same rows for all, read": "SELECT k FROM (SELECT k, (SELECT b FROM u) AS x FROM t) "
    "WHERE x = 1",
}  # fmt: skip


@pytest.mark.parametrize("query", UNREAD.values(), ids=UNREAD.keys())
def test_a_subquery_of_several_rows_that_nobody_reads_is_refused_where_the_kernel_does(
    query: str,
) -> None:
    for shape in (Shape(3, FORCED), Shape(3, FORCED, optimized=False), Shape(3, BY_SIZE)):
        check(Case((T, U), query, shape=shape))


def test_a_sort_into_one_range_is_one_sequence() -> None:
    conf = FORCED | {"planner.partitions": 1}
    query = "SELECT v, k FROM t ORDER BY v NULLS FIRST, k"
    for shape in (Shape(3, conf), Shape(3, conf, optimized=False)):
        check(Case((T,), query, True, shape))


def test_a_small_side_that_is_shared_filters_the_other_without_a_stage_of_its_own() -> None:
    t = Table("t", (("x", "x"),), (), "parquet")
    u = Table("u", (("k", "i"), ("b", "b")), ())
    v = Table(
        "v",
        (("k", "i"), ("x", "x"), ("n", "i"), ("b", "b")),
        (("1", "'nan'", "1", "1"), ("0", "-0.0", "-1", "-1")),
        "hashed",
    )
    query = (
        "WITH w AS ((SELECT v.x FROM v FULL JOIN u ON v.b = u.b WHERE u.b < 0) INTERSECT ALL "
        "(SELECT v.x FROM u LEFT JOIN v ON u.k = v.k)) SELECT w.x FROM w SEMI JOIN v ON w.x = v.x "
        "WHERE EXISTS (SELECT DISTINCT t.x FROM t JOIN w AS y ON true)"
    )
    check(Case((t, u, v), query, shape=Shape(3, BY_SIZE)))
