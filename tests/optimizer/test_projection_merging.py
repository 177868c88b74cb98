"""Neighbouring projections become one unless something would be computed twice."""

from __future__ import annotations

from flowgrid.logical.explain import explain
from flowgrid.logical.nodes import Node, Union
from flowgrid.optimizer.projection_merging import merge_projections
from tests.optimizer.plans import aggregate, assert_same_rows, given, project

TABLE = given("t", [(1, 2), (None, 3), (4, None)], k="INTEGER", v="INTEGER")


def merged(plan: Node) -> str:
    after = merge_projections(plan)
    assert_same_rows(plan, after)
    return explain(after)


def test_two_projections_are_one() -> None:
    plan = project(project(TABLE, a='"t.k" + 1', b='"t.v"'), c="a * 2", d="b + b")
    assert merged(plan).splitlines()[0] == 'Project ("t.k" + 1) * 2 AS c, "t.v" + "t.v" AS d'


def test_a_long_chain_of_projections_is_one_without_recursion() -> None:
    node: Node = project(TABLE, a='"t.k"', b='"t.v"')
    for _ in range(1500):
        node = project(node, a="b", b="a")
    assert explain(merge_projections(node)).count("\n") == 1


def test_nothing_is_computed_twice() -> None:
    plan = project(project(TABLE, a='"t.k" + 1'), b="a + a")
    assert merge_projections(plan) is plan
    shared = project(TABLE, a='"t.k" + 1')
    union = Union((project(shared, b="a"), project(shared, b="a * 2")))
    assert "(shared 1)" in merged(union)


def test_what_differs_each_time_stays_where_it_is() -> None:
    plan = project(project(TABLE, a="random()"), b="a + 1")
    assert merge_projections(plan) is plan


def test_projections_that_change_nothing_go() -> None:
    assert merged(project(TABLE, **{"t.k": '"t.k"', "t.v": '"t.v"'})).startswith("GivenTable")
    assert merged(project(TABLE, **{"t.v": '"t.v"', "t.k": '"t.k"'})).startswith("Project")


def test_an_aggregate_reads_through_renamings() -> None:
    plan = aggregate(project(TABLE, a='"t.k"', b='"t.v"'), ["a"], n="sum(b)")
    assert merged(plan).startswith('Aggregate SUM("t.v") AS n by "t.k" AS a\n  GivenTable') or (
        merged(plan).startswith('Aggregate SUM("t.v") AS n by t.k AS a\n  GivenTable')
    )
