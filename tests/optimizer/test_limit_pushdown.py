"""A limit goes down to where the rows come from, and no row is chosen that was not there."""

from __future__ import annotations

from flowgrid.expr.tree import column
from flowgrid.logical.explain import explain
from flowgrid.logical.nodes import Limit, Node, Sort, SortKey, Union
from flowgrid.optimizer.limit_pushdown import push_limits
from tests.optimizer.plans import assert_same_rows, execute, given, join, project, where

TABLE = given("t", [(i, i % 3) for i in range(9)], k="INTEGER", v="INTEGER")
OTHER = given("u", [(i % 4, i) for i in range(7)], k="INTEGER", v="INTEGER")
SORTED = Sort(TABLE, (SortKey(column("t.k")),))


def pushed(plan: Node) -> str:
    after = push_limits(plan)
    assert_same_rows(plan, after)
    return explain(after)


def test_a_limit_over_a_sort_is_a_top_n_also_through_a_projection() -> None:
    assert pushed(Limit(project(SORTED, a='"t.k" + 1'), 3, 1)).splitlines()[:2] == [
        'Project "t.k" + 1 AS a',
        '  Sort "t.k" ASC NULLS LAST LIMIT 3 OFFSET 1',
    ]


def test_limits_and_offsets_in_a_row_are_one() -> None:
    for outer in ((None, 0), (None, 1), (2, 0), (2, 1), (9, 3), (0, 0)):
        for inner in ((None, 2), (5, 0), (5, 2), (1, 0)):
            text = pushed(Limit(Limit(SORTED, *inner), *outer))
            assert text.count("Limit") == 0, (outer, inner)
            pushed(Limit(Sort(TABLE, SORTED.keys, *inner), *outer))


def test_no_input_of_a_union_gives_more_rows_than_the_limit_and_offset() -> None:
    plan = Limit(Union((TABLE, OTHER)), 2, 1)
    text = explain(push_limits(plan))
    assert text.count("Limit LIMIT 3") == 2
    assert text.startswith("Limit LIMIT 2 OFFSET 1")
    assert len(execute(push_limits(plan))) == 2


def test_an_outer_join_keeps_all_rows_of_one_side_so_a_few_of_them_are_enough() -> None:
    for kind, side in (("left", "9 rows"), ("right", "7 rows")):
        plan = Limit(join(TABLE, OTHER, kind, '"t.k" = "u.k"'), 4)
        text = explain(push_limits(plan))
        assert f"    Limit LIMIT 4\n      GivenTable {side}" in text
        assert len(execute(push_limits(plan))) == 4
    inner = Limit(join(TABLE, OTHER, "inner", '"t.k" = "u.k"'), 4)
    assert push_limits(inner) is inner


def test_a_limit_does_not_pass_a_filter() -> None:
    plan = Limit(where(TABLE, '"t.v" = 1'), 2)
    assert push_limits(plan) is plan
