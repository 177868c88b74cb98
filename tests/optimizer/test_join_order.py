"""Joins are done in the order that moves the fewest bytes, and outer and semi joins keep their rows."""

from __future__ import annotations

import random
from pathlib import Path

from flowgrid.expr.tree import parse
from flowgrid.logical.explain import explain
from flowgrid.logical.nodes import Join, JoinKind, Node
from flowgrid.logical.rendering import topological
from flowgrid.optimizer.estimates import Estimator
from flowgrid.optimizer.join_enumeration import EXHAUSTIVE_RELATIONS_MAX, Enumeration, _pairs
from flowgrid.optimizer.join_estimates import Estimate
from flowgrid.optimizer.join_graph import JoinGraph
from flowgrid.optimizer.join_order import order_joins
from flowgrid.optimizer.optimizer import optimize
from flowgrid.optimizer.selectivity import ColumnEstimate
from tests.optimizer.plans import aggregate, assert_same_rows, given, join, project, scan, where

COVERS = ["join_enumeration", "join_graph"]

BROADCAST_BYTES_MAX = 1 << 20


def ordered(plan: Node) -> str:
    after = order_joins(plan, Estimator(), BROADCAST_BYTES_MAX)
    assert_same_rows(plan, after)
    return explain(after)


def star(folder: Path) -> tuple[Node, Node, Node]:
    """Facts, and two dimensions that they refer to."""
    facts = scan(folder, "fact", 5000, a="i % 100", b="i % 1000", v="i")
    small = scan(folder, "small", 100, a="i", c="i % 10")
    large = scan(folder, "large", 1000, b="i", d="i % 50")
    return facts, small, large


def test_the_dimension_that_drops_most_rows_is_joined_first(tmp_path: Path) -> None:
    facts, small, large = star(tmp_path)
    plan = join(
        join(facts, small, "inner", '"fact.a" = "small.a"'),
        where(large, '"large.d" = 3'), "inner", '"fact.b" = "large.b"',
    )  # fmt: skip
    assert [line.strip() for line in ordered(plan).splitlines()[1:6]] == [
        'Join inner on "fact.a" = "small.a"',
        'Join inner on "fact.b" = "large.b"',
        "Scan fact.parquet [fact.a, fact.b, fact.v]",
        'Filter "large.d" = 3',
        "Scan large.parquet [large.b, large.d]",
    ]


def test_relations_that_nothing_connects_in_the_text_meet_last_or_through_equal_columns() -> None:
    a = given("a", [(i,) for i in range(20)], x="INTEGER")
    b = given("b", [(i,) for i in range(30)], x="INTEGER")
    c = given("c", [(i,) for i in range(10)], x="INTEGER")
    plan = where(join(join(a, c, "cross"), b, "cross"), '"a.x" = "b.x" AND "c.x" = "b.x"')
    text = ordered(plan)
    assert "cross" not in text
    assert text.count("Join inner") == 2


def test_a_cross_join_that_must_be_is_done_with_the_smallest_relations() -> None:
    a = given("a", [(i,) for i in range(20)], x="INTEGER")
    b = given("b", [(i,) for i in range(30)], x="INTEGER")
    one = given("one", [(7,)], x="INTEGER")
    plan = join(join(one, a, "cross"), b, "inner", '"a.x" = "b.x"')
    assert ordered(plan).count("Join cross") == 1


def test_a_semi_join_comes_before_the_joins_that_it_saves_work(tmp_path: Path) -> None:
    facts, small, large = star(tmp_path)
    wanted = project(scan(tmp_path, "wanted", 5, b="i"), w='"wanted.b"')
    plan = join(
        join(
            join(facts, small, "inner", '"fact.a" = "small.a"'),
            large, "inner", '"fact.b" = "large.b"',
        ),
        wanted, "semi", '"fact.b" = w',
    )  # fmt: skip
    joins = [line.strip() for line in ordered(plan).splitlines() if "Join" in line]
    assert joins[-1] == 'Join semi on "fact.b" = w', "the lowest is done first"


def test_left_and_anti_joins_keep_their_rows_wherever_they_are_done() -> None:
    a = given("a", [(1, 1), (2, None), (None, 3)], x="INTEGER", y="INTEGER")
    b = given("b", [(1, 1), (1, 2), (3, None)], x="INTEGER", y="INTEGER")
    c = given("c", [(1, 1), (2, 2), (2, 3)], x="INTEGER", y="INTEGER")
    for kind in ("left", "anti", "semi"):
        hung = join(join(a, c, "inner", '"a.x" = "c.x"'), b, kind, '"a.y" = "b.y"')
        ordered(hung)
        ordered(join(join(a, b, kind, '"a.y" = "b.y"'), c, "inner", '"a.x" = "c.x"'))
        ordered(join(c, join(a, b, kind, '"a.y" = "b.y"'), "inner", '"a.x" = "c.x"'))
    filled = join(a, b, "left", '"a.y" = "b.y"')
    ordered(where(join(filled, c, "cross"), 'coalesce("b.x", "c.x") = "c.x"'))
    ordered(where(filled, '"b.x" IS NULL'))
    ordered(join(filled, c, "inner", '"b.x" = "c.x" OR "b.x" IS NULL'))


def test_regions_look_through_renamings_and_hidden_names_give_way() -> None:
    a = given("a", [(1, 1), (2, 2)], k="INTEGER", v="INTEGER")
    b = given("b", [(1, 5), (2, 6)], k="INTEGER", v="INTEGER")
    c = given("c", [(1, 7), (9, 8)], k="INTEGER", v="INTEGER")
    hidden = project(join(project(a, k='"a.k"', x='"a.v"'), project(b, r='"b.k"', y='"b.v"'),
                          "inner", "k = r"), k="k", x="x", y="y")  # fmt: skip
    plan = project(
        join(hidden, project(c, r='"c.k"', z='"c.v"'), "inner", "k = r"), k="k", z="z", y="y"
    )
    text = explain(optimize(plan))
    assert_same_rows(plan, optimize(plan))
    assert "r#1" in text, "both hidden keys are in one region"


def test_equal_columns_within_a_relation_are_compared_before_it_joins() -> None:
    a = given("a", [(1, 1), (1, 2)], x="INTEGER", y="INTEGER")
    b = given("b", [(1,), (2,)], x="INTEGER")
    plan = where(join(a, b, "cross"), '"a.x" = "b.x" AND "a.y" = "b.x"')
    assert 'Filter "a.x" = "a.y"' in ordered(plan)


def test_a_shared_join_is_one_relation_for_each_region_that_reads_it() -> None:
    a = given("a", [(1,), (2,)], x="INTEGER")
    b = given("b", [(1,), (2,)], x="INTEGER")
    both = join(a, b, "inner", '"a.x" = "b.x"')
    counted = project(aggregate(both, ["b.x"], n="count(*)"), x='"b.x"', n="n")
    text = ordered(join(both, counted, "inner", '"a.x" = x'))
    assert (
        text.count('Join inner on "a.x" = "b.x"') + text.count('Join inner on "b.x" = "a.x"') == 1
    )


def test_many_relations_are_joined_without_looking_at_all_orders() -> None:
    tables = [given(f"t{i}", [(i % 3,), (1,)], x="INTEGER") for i in range(14)]
    plan: Node = tables[0]
    for i in range(1, 14):
        plan = join(plan, tables[i], "inner", f'"t{i - 1}.x" = "t{i}.x"')
    assert len(tables) > EXHAUSTIVE_RELATIONS_MAX
    after = order_joins(plan, Estimator(), BROADCAST_BYTES_MAX)
    assert_same_rows(plan, after)
    assert all(node.kind is JoinKind.INNER for node in topological(after) if isinstance(node, Join))


def test_every_pair_of_connected_adjacent_sets_is_looked_at_once(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(30):
        graph = random_graph(dice, dice.randint(2, 6))
        whole = 1 << len(graph.relations)
        expected = {
            (one, other)
            for one in range(1, whole)
            for other in range(one + 1, whole)
            if not one & other
            and graph.neighbourhood(one) & other
            and is_connected(graph, one)
            and is_connected(graph, other)
        }
        found = [(min(pair), max(pair)) for pair in _pairs(graph)]
        assert len(found) == len(set(found))
        assert set(found) == expected


def random_graph(dice: random.Random, count: int) -> JoinGraph:
    leaf = given("t", [], x="INTEGER")
    graph = JoinGraph(relations=[leaf] * count, neighbours=[0] * count)
    edges = [(i, dice.randrange(i)) for i in range(1, count)]
    edges += [(a, b) for a, b in (dice.sample(range(count), 2) for _ in range(dice.randrange(3)))]
    for a, b in edges:
        graph.neighbours[a] |= 1 << b
        graph.neighbours[b] |= 1 << a
        graph.predicates.append((1 << a | 1 << b, parse(f"x{a} = x{b}")))
    return graph


def is_connected(graph: JoinGraph, mask: int) -> bool:
    reached = mask & -mask
    while more := graph.neighbourhood(reached) & mask:
        reached |= more
    return reached == mask


def test_no_other_order_is_cheaper(seed: int) -> None:
    """Dynamic programming finds what trying every order finds."""
    dice = random.Random(seed)
    for _ in range(10):
        graph = random_graph(dice, dice.randint(2, 5))
        estimates = [
            Estimate(
                float(10 ** dice.randint(0, 6)),
                {f"x{i}": ColumnEstimate("INTEGER", 4.0, i, 100.0, float(dice.randint(1, 100)))},
            )
            for i in range(len(graph.relations))
        ]
        search = Enumeration(graph, estimates, BROADCAST_BYTES_MAX)
        best = search.best()
        assert (
            best.cost
            <= min(cost_of_any(search, graph, estimates, dice) for _ in range(50)) * 1.0001
        )


def cost_of_any(
    search: Enumeration, graph: JoinGraph, estimates: list[Estimate], dice: random.Random
) -> float:
    """The cost of some order, by the same estimates."""
    sets = [search._best[1 << i] for i in range(len(estimates))]
    while len(sets) > 1:
        one, other = dice.sample(sets, 2)
        found = search._joined(one, other)
        if found is not None and graph.neighbourhood(one.mask) & other.mask:
            sets = [rest for rest in sets if rest not in (one, other)] + [found]
    return sets[0].cost
