"""Columns that nobody reads are not read, computed or moved."""

from __future__ import annotations

from pathlib import Path

from flowgrid.expr.tree import column, parse
from flowgrid.logical.explain import explain
from flowgrid.logical.nodes import (
    Distinct,
    MapBatches,
    Named,
    Node,
    SetOperation,
    Sort,
    SortKey,
    Union,
    Window,
)
from flowgrid.optimizer.column_pruning import narrow_exchanges, narrow_shared, prune_columns
from flowgrid.protocol.fragment import Field
from tests.optimizer.plans import aggregate, assert_same_rows, given, join, project, scan, where

TABLE = given(
    "t", [(1, 2, "a"), (1, None, "b"), (None, 3, "a")], k="INTEGER", v="INTEGER", s="VARCHAR"
)
OTHER = given("u", [(1, 5, "x"), (2, 6, None)], k="INTEGER", v="INTEGER", s="VARCHAR")


def pruned(plan: Node) -> str:
    after = prune_columns(plan)
    assert_same_rows(plan, after)
    assert_same_rows(plan, narrow_exchanges(plan))
    assert explain(prune_columns(after)) == explain(after), "a second time changes nothing"
    return explain(after)


def test_a_scan_reads_the_columns_that_are_used_up_to_the_root(tmp_path: Path) -> None:
    table = scan(tmp_path, "f", 10, a="i", b="i * 2", c="i % 3", d="i + 1")
    plan = aggregate(
        where(project(table, a='"f.a"', b='"f.b"', c='"f.c"'), "b > 4"), [], n="sum(a)"
    )
    assert pruned(plan).endswith("Scan f.parquet [f.a, f.b]")


def test_counting_rows_reads_no_column(tmp_path: Path) -> None:
    table = scan(tmp_path, "f", 10, a="i", b="i")
    assert pruned(aggregate(table, [], n="count(*)")).endswith("Scan f.parquet []")


def test_the_root_keeps_its_columns_and_their_order() -> None:
    plan = join(TABLE, OTHER, "inner", '"t.k" = "u.k"')
    assert prune_columns(plan) is plan


def test_verbs_lose_what_nobody_reads() -> None:
    total = Named("total", parse('sum("t.v") OVER (PARTITION BY "t.k")'))
    unused = project(Window(TABLE, (total,)), k='"t.k"')
    assert "Window" not in pruned(unused)
    grouped = project(aggregate(TABLE, ["t.k"], n="count(*)", m='max("t.v")'), m="m")
    assert "COUNT" not in pruned(grouped)
    assert pruned(project(aggregate(TABLE, [], n="count(*)"), one="1")).count("COUNT") == 1


def test_all_columns_count_where_whole_rows_are_compared_or_handed_to_the_user() -> None:
    distinct = project(Distinct(TABLE), k='"t.k"')
    assert "[t.k, t.v, t.s]" in pruned(distinct)
    common = project(SetOperation(TABLE, OTHER, "intersect"), k='"t.k"')
    assert "[u.k, u.v, u.s]" in pruned(common)
    batches = MapBatches(TABLE, b"", b"", (Field("n", "BIGINT"), Field("m", "BIGINT")), "f")
    assert "[t.k, t.v, t.s]" in explain(prune_columns(project(batches, n="n")))
    keyed = project(Distinct(TABLE, ("t.k",), (SortKey(column("t.v")),)), k='"t.k"')
    assert "[t.k, t.v]" in pruned(keyed)


def test_a_union_loses_the_same_positions_in_every_input() -> None:
    plan = project(Union((TABLE, OTHER)), s='"t.s"')
    text = pruned(plan)
    assert "[t.s]" in text
    assert "[u.s]" in text


def test_an_expression_that_hides_what_it_reads_keeps_all() -> None:
    plan = project(TABLE, n='(SELECT max(x) FROM (VALUES (1)) v(x)) + "t.k"')
    assert "[t.k, t.v, t.s]" in explain(prune_columns(plan))


def test_a_shared_scan_is_read_with_the_columns_of_all_its_readers(tmp_path: Path) -> None:
    table = scan(tmp_path, "f", 10, a="i", b="i", c="i")
    plan = join(project(table, x='"f.a"'), project(table, y='"f.b"'), "inner", "x = y")
    assert "Scan f.parquet [f.a, f.b] (shared 1)" in pruned(plan)


def test_what_is_exchanged_has_lost_the_columns_of_filters_and_joins_below() -> None:
    plan = project(
        join(
            where(TABLE, "\"t.s\" = 'a'"),
            join(OTHER, given("w", [(1, 1)], a="INTEGER", b="INTEGER"), "inner", '"u.v" > "w.a"'),
            "inner",
            '"t.k" = "u.k"',
        ),
        s='"u.s"',
    )
    after = narrow_exchanges(plan)
    assert_same_rows(plan, after)
    text = explain(after)
    assert "    Project t.k\n      Filter \"t.s\" = 'a'" in text
    assert "    Project u.k, u.s\n      Join inner" in text
    ordered = Sort(where(TABLE, "\"t.s\" = 'a'"), (SortKey(column("t.k")),))
    assert "Project t.v, t.k" not in explain(narrow_exchanges(ordered))


def test_a_join_with_two_readers_keeps_only_what_they_read() -> None:
    both = join(TABLE, OTHER, "inner", '"t.k" = "u.k"')
    once = project(both, a='"t.v"')
    again = aggregate(both, [], n='max("t.v")')
    plan = join(once, again, "inner", "a = n")
    after = narrow_shared(plan)
    assert_same_rows(plan, after)
    assert "Project t.v (shared 1)" in explain(after)
    assert narrow_shared(once) is once, "one reader takes what it wants by itself"
