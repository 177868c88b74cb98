"""Predicates go down as far as they mean the same, and no further."""

from __future__ import annotations

import pytest

from flowgrid.expr.tree import column, parse
from flowgrid.logical.explain import explain
from flowgrid.logical.nodes import (
    Aggregate,
    Distinct,
    Limit,
    Named,
    Node,
    Sample,
    Sort,
    SortKey,
    Union,
    Unnest,
    Window,
)
from flowgrid.optimizer.predicate_pushdown import push_predicates
from tests.optimizer.plans import (
    aggregate,
    assert_same_rows,
    given,
    join,
    project,
    where,
)

COVERS = ["join_predicates", "traits", "rewriting"]

LEFT = given(
    "l",
    [(1, 1, "a"), (1, None, "b"), (2, 2, None), (None, 3, "a"), (5, 5, "ab")],
    k="INTEGER", v="INTEGER", s="VARCHAR",
)  # fmt: skip
RIGHT = given(
    "r", [(1, 7, "a"), (1, 8, None), (None, 9, "b"), (2, None, "b")],
    k="INTEGER", v="INTEGER", s="VARCHAR",
)  # fmt: skip


def pushed(plan: Node) -> str:
    """The plan after the rule, as text; its rows are the same."""
    after = push_predicates(plan)
    assert_same_rows(plan, after)
    assert explain(push_predicates(after)) == explain(after), "a second time changes nothing"
    return explain(after)


def test_a_predicate_goes_through_a_projection_in_its_terms() -> None:
    plan = where(project(LEFT, a='"l.k" + 1', b='"l.v"'), "a > 2 AND b = 2")
    assert pushed(plan) == (
        'Project "l.k" + 1 AS a, l.v AS b\n'
        '  Filter (("l.k" + 1) > 2) AND ("l.v" = 2)\n'
        "    GivenTable 5 rows [l.k, l.v, l.s]"
    )


def test_a_cross_join_under_an_equality_is_an_inner_join_of_filtered_sides() -> None:
    plan = where(join(LEFT, RIGHT, "cross"), '"l.k" = "r.k" AND "l.v" > 0 AND "r.s" = \'a\'')
    assert pushed(plan) == (
        'Join inner on "l.k" = "r.k"\n'
        '  Filter "l.v" > 0\n'
        "    GivenTable 5 rows [l.k, l.v, l.s]\n"
        "  Filter \"r.s\" = 'a'\n"
        "    GivenTable 4 rows [r.k, r.v, r.s]"
    )


def test_a_constant_reaches_every_column_that_equals_the_one_compared_with_it() -> None:
    plan = where(join(LEFT, RIGHT, "inner", '"l.k" = "r.k"'), '"l.k" = 1')
    assert '  Filter "l.k" = 1\n' in pushed(plan)
    assert '  Filter "r.k" = 1\n' in pushed(plan)
    outer = where(join(LEFT, RIGHT, "left", '"l.k" = "r.k"'), '"l.k" < 2')
    assert '  Filter "r.k" < 2\n' in pushed(outer)


@pytest.mark.parametrize(
    ("kind", "predicate", "becomes"),
    [
        ("left", '"r.v" > 7', "inner"),
        ("left", '"r.v" IS NULL', "left"),
        ("left", 'coalesce("r.v", 8) = 8', "left"),
        ("left", '"r.v" IS NOT NULL OR "l.v" = 1', "left"),
        ("right", '"l.v" + 1 = 2', "inner"),
        ("full", '"l.v" = 1', "left"),
        ("full", '"r.v" IN (7, 8)', "right"),
        ("full", '"l.v" = 1 AND NOT "r.v" IS NULL', "inner"),
        ("full", '"l.v" = 1 OR "r.v" = 8', "full"),
    ],
)
def test_an_outer_join_whose_nulls_cannot_pass_is_a_narrower_one(
    kind: str, predicate: str, becomes: str
) -> None:
    plan = where(join(LEFT, RIGHT, kind, '"l.k" = "r.k"'), predicate)
    assert f"Join {becomes} on" in pushed(plan)


@pytest.mark.parametrize(
    ("kind", "condition", "left", "right"),
    [
        ("inner", '"l.v" > 1', True, False),
        ("left", '"l.v" > 1', False, False),
        ("left", '"r.v" > 7', False, True),
        ("right", '"l.v" > 1', True, False),
        ("full", '"r.v" > 7', False, False),
        ("semi", '"l.v" > 1', True, False),
        ("semi", '"r.v" > 7', False, True),
        ("anti", '"l.v" > 1', False, False),
        ("anti", '"r.v" > 7', False, True),
    ],
)
def test_a_condition_on_one_side_filters_that_side_if_the_kind_allows(
    kind: str, condition: str, left: bool, right: bool
) -> None:
    text = pushed(join(LEFT, RIGHT, kind, f'"l.k" = "r.k" AND {condition}'))
    _, left_part = text.split("\n", 1)
    assert left_part.startswith("  Filter") == left
    assert ("  Filter" in left_part.split("GivenTable 5", 1)[1]) == right


def test_an_or_over_both_sides_says_something_of_each() -> None:
    either = "\"l.s\" = 'a' AND \"r.s\" = 'b' OR \"l.s\" = 'b' AND \"r.s\" = 'a'"
    text = pushed(where(join(LEFT, RIGHT, "cross"), either))
    assert "  Filter \"l.s\" IN ('a', 'b')\n" in text
    assert "  Filter \"r.s\" IN ('b', 'a')\n" in text


def test_what_all_branches_of_an_or_ask_is_asked_once() -> None:
    either = '("l.k" = "r.k" AND "l.v" = 1) OR ("l.k" = "r.k" AND "l.v" = 2)'
    assert pushed(where(join(LEFT, RIGHT, "cross"), either)).startswith(
        'Join inner on "l.k" = "r.k"\n  Filter "l.v" IN (1, 2)\n'
    )


def test_a_predicate_on_group_keys_is_asked_before_grouping() -> None:
    plan = where(aggregate(LEFT, ["l.k"], n="count(*)"), '"l.k" > 1 AND n > 0')
    assert pushed(plan).startswith("Filter n > 0\n  Aggregate")
    assert '    Filter "l.k" > 1\n' in pushed(plan)


def test_a_key_that_a_grouping_set_leaves_out_is_null_there_and_stays_above() -> None:
    keys = (Named("k", column("l.k")), Named("s", column("l.s")))
    count = (Named("n", parse("count(*)")),)
    grouped = Aggregate(LEFT, keys, count, ((0,), (0, 1)))
    text = pushed(where(grouped, "k = 1 AND s = 'a'"))
    assert text.startswith("Filter s = 'a'\n  Aggregate")
    assert '    Filter "l.k" = 1\n' in text


def test_a_false_predicate_does_not_empty_an_aggregate_without_keys_from_below() -> None:
    plan = where(aggregate(LEFT, [], n="count(*)"), "1 = 0")
    assert pushed(plan).startswith("Filter 1 = 0\n  Aggregate")


def test_only_partition_keys_go_below_a_window() -> None:
    total = Named("total", parse('sum("l.v") OVER (PARTITION BY "l.k")'))
    text = pushed(where(Window(LEFT, (total,)), '"l.k" = 1 AND "l.v" = 1'))
    assert text.startswith('Filter "l.v" = 1\n  Window')
    assert '    Filter "l.k" = 1\n' in text


def test_a_union_asks_each_input_in_its_own_names_unless_types_differ() -> None:
    plan = where(Union((LEFT, RIGHT)), '"l.k" = 1')
    assert '  Filter "l.k" = 1\n' in pushed(plan)
    assert '  Filter "r.k" = 1\n' in pushed(plan)
    wide = given("w", [(1, 1, "a")], k="BIGINT", v="BIGINT", s="VARCHAR")
    assert pushed(where(Union((LEFT, wide)), '"l.k" = 1')).startswith("Filter")


def test_rows_that_were_chosen_stay_chosen() -> None:
    keys = (SortKey(column("l.k")), SortKey(column("l.v")))
    for chosen in (Limit(Sort(LEFT, keys), 2), Sort(LEFT, keys, 2), Sample(LEFT, 1.0, 7)):
        assert pushed(where(chosen, '"l.k" = 1')).startswith("Filter")
    assert pushed(where(Sort(LEFT, keys), '"l.k" = 1')).startswith("Sort")
    assert pushed(where(Distinct(LEFT), '"l.k" = 1')).startswith("Distinct")
    first = Distinct(LEFT, ("l.s",), keys)
    assert pushed(where(first, '"l.k" = 1 AND "l.s" = \'a\'')).startswith('Filter "l.k" = 1\n')


def test_items_of_lists_are_asked_after_unnesting_and_other_columns_before() -> None:
    lists = Unnest(project(LEFT, items='["l.k", "l.v"]', k='"l.k"'), "items")
    text = pushed(where(lists, "items = 1 AND k = 1"))
    assert text.startswith("Filter items = 1\n  Unnest")
    assert 'Filter "l.k" = 1' in text


def test_what_differs_each_time_is_neither_moved_nor_crossed() -> None:
    noise = project(LEFT, a='"l.k"', b="random()")
    assert push_predicates(where(noise, "a = 1")).columns == ("a", "b")
    assert explain(push_predicates(where(noise, "a = 1"))).startswith("Filter a = 1\n  Project")
    dice = where(project(LEFT, a='"l.k"'), "random() < 2")
    assert explain(push_predicates(where(dice, "a = 1"))).startswith("Filter a = 1\n  Filter")


def test_a_shared_plan_is_filtered_on_the_way_to_one_reader_only() -> None:
    shared = aggregate(LEFT, ["l.k"], n="count(*)")
    one = where(project(shared, a='"l.k"', n="n"), "a = 1")
    other = project(shared, b='"l.k"', m="n")
    text = pushed(join(one, other, "inner", "a = b"))
    assert text.count("Aggregate") == 1
    assert "(shared 1)" in text
