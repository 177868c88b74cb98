"""Verbs over one relation mean what their docstrings say: each query is run by the kernel."""

from __future__ import annotations

import duckdb
import pytest

from flowgrid.expr.tree import column, parse
from flowgrid.logical.nodes import (
    Aggregate,
    Distinct,
    Filter,
    Limit,
    Named,
    Node,
    Project,
    Repartition,
    Sample,
    Sort,
    SortKey,
    Unnest,
    Window,
    Write,
)
from flowgrid.logical.nodes.leaves import Leaf
from flowgrid.protocol.fragment import Field

SOURCE = Leaf((Field("k", "INTEGER"), Field("v", "INTEGER")))
ROWS = "(VALUES (1, 10), (1, 20), (2, NULL), (NULL, 40)) t(k, v)"


def rows(node: Node) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = duckdb.sql(node.query([f"(FROM {ROWS})"])).fetchall()
    return found


def named(**expressions: str) -> tuple[Named, ...]:
    return tuple(Named(name, parse(text)) for name, text in expressions.items())


def test_a_selection_of_nothing_still_has_rows() -> None:
    nothing = Project(SOURCE, ())
    assert nothing.columns == ()
    assert len(rows(nothing)) == 4


def test_a_filter_keeps_what_is_true_and_not_what_is_null() -> None:
    assert rows(Filter(SOURCE, parse("v > 10"))) == [(1, 20), (None, 40)]


def test_groups_by_key_and_one_row_without_keys() -> None:
    grouped = Aggregate(SOURCE, named(k="k"), named(n="count(*)", total="sum(v)"))
    assert grouped.columns == ("k", "n", "total")
    assert sorted(rows(grouped), key=str) == [(1, 2, 30), (2, 1, None), (None, 1, 40)]
    assert rows(Aggregate(SOURCE, (), named(n="count(v)"))) == [(3,)]


def test_a_constant_is_a_key_and_no_position() -> None:
    assert rows(Aggregate(SOURCE, named(two="2"), named(n="count(*)"))) == [(2, 4)]


def test_grouping_sets_are_groups_of_several_kinds() -> None:
    keys = named(k="k", v="v")
    node = Aggregate(SOURCE, keys, named(n="count(*)"), sets=((0, 1), ()))
    assert sorted(row[-1] for row in rows(node)) == [1, 1, 1, 1, 4]  # type: ignore[type-var]


def test_a_window_adds_columns() -> None:
    node = Window(SOURCE, named(n="count(*) OVER (PARTITION BY k)"))
    assert node.columns == ("k", "v", "n")
    assert sorted(row[2] for row in rows(node)) == [1, 1, 2, 2]  # type: ignore[type-var]


def test_an_order_with_a_limit_is_its_top() -> None:
    keys = (SortKey(column("v"), descending=True, nulls_first=True),)
    assert [row[1] for row in rows(Sort(SOURCE, keys))] == [None, 40, 20, 10]
    assert [row[1] for row in rows(Sort(SOURCE, keys, limit=2, offset=1))] == [40, 20]


@pytest.mark.parametrize(
    ("limit", "offset", "count"), [(2, 0, 2), (0, 0, 0), (None, 3, 1), (9, 9, 0)]
)
def test_a_limit_after_an_offset(limit: int | None, offset: int, count: int) -> None:
    assert len(rows(Limit(SOURCE, limit, offset))) == count


def test_each_row_once_or_the_first_of_each_key() -> None:
    assert len(rows(Distinct(Project(SOURCE, named(k="k"))))) == 4, "the source is not projected"
    first = Distinct(SOURCE, ("k",), (SortKey(column("v"), descending=True),))
    assert sorted(rows(first), key=str) == [(1, 20), (2, None), (None, 40)]


def test_a_list_becomes_rows_and_an_empty_one_a_null_if_it_is_kept() -> None:
    lists = "(SELECT * FROM (VALUES (1, [10, 20]), (2, []), (3, NULL)) t(k, l))"
    source = Leaf((Field("k", "INTEGER"), Field("l", "INTEGER[]")))
    kept = duckdb.sql(Unnest(source, "l").query([lists])).fetchall()
    assert kept == [(1, 10), (1, 20), (2, None), (3, None)]
    dropped = duckdb.sql(Unnest(source, "l", keep_empty=False).query([lists])).fetchall()
    assert dropped == [(1, 10), (1, 20)]


def test_verbs_that_leave_the_rows_alone() -> None:
    assert rows(Repartition(SOURCE, 7)) == rows(Limit(SOURCE, None))
    assert rows(Sample(SOURCE, 1.0, 1)) == rows(Limit(SOURCE, None))
    assert rows(Sample(SOURCE, 0.0, 1)) == []


def test_every_verb_says_itself_in_one_line() -> None:
    assert Filter(SOURCE, parse("k > 1")).describe() == "Filter k > 1"
    assert Limit(SOURCE, 3, 1).describe() == "Limit LIMIT 3 OFFSET 1"
    assert Distinct(SOURCE, ("k",)).describe() == "Distinct on k"
    assert Repartition(SOURCE, 3, (column("k"),)).describe() == 'Repartition 3 by "k"'
    assert Aggregate(SOURCE, named(k="k"), named(n="count(*)")).describe().endswith(" by k")
    write = Write(SOURCE, "/out", "csv", "append")
    assert write.describe() == "Write csv /out mode append"
    assert write.columns == ()
