"""A tree as SQL: one query, each shared node once, cut where user functions run."""

from __future__ import annotations

import duckdb
import pyarrow as pa

from flowgrid.expr.tree import column, parse
from flowgrid.logical.nodes import (
    Filter,
    IntegerRange,
    Limit,
    MapBatches,
    Named,
    Node,
    Project,
    Sort,
    SortKey,
    Union,
)
from flowgrid.logical.rendering import consumers, empty_relation, select, steps, topological
from flowgrid.protocol.fragment import Field, PythonStep, SqlStep

LEAF = IntegerRange((Field("id", "BIGINT"),), 0, 10, 1)


def user_function(source: Node, label: str = "f") -> MapBatches:
    schema = pa.schema([("id", pa.int64())]).serialize().to_pybytes()
    return MapBatches(source, b"pickled", schema, LEAF.fields, label)


def run(query: str) -> list[tuple[object, ...]]:
    with duckdb.connect() as kernel:
        kernel.execute("CREATE VIEW l0 AS SELECT range AS id FROM range(10)")
        found: list[tuple[object, ...]] = kernel.execute(query).fetchall()
        return found


def test_inputs_come_before_what_reads_them_and_each_once() -> None:
    shared = Filter(LEAF, parse("id > 3"))
    root = Union((shared, Limit(shared, 1)))
    order = topological(root)
    assert order == [LEAF, shared, root.relations[1], root]
    assert consumers(root) == {LEAF: 1, shared: 2, root.relations[1]: 1}


def test_a_plan_of_thousands_of_nodes_is_no_deep_recursion() -> None:
    plan: Node = LEAF
    for _ in range(5_000):
        plan = Limit(plan, 5)
    assert len(topological(plan)) == 5_001


def test_one_query_for_a_tree() -> None:
    twice = Project(LEAF, (Named("twice", parse("id * 2")),))
    root = Filter(Union((twice, twice)), parse("twice > 14"))
    query = select(root, {LEAF: "l0"})
    assert run(query) == [(16,), (18,), (16,), (18,)]
    assert query.count('"id" * 2') + query.count("id * 2") == 1, "a shared node is computed once"


def test_a_node_that_is_there_already_is_read_by_its_name() -> None:
    root = Limit(Filter(LEAF, parse("id > 3")), 2)
    assert select(LEAF, {LEAF: 'a"b'}) == 'SELECT * FROM "a""b"'
    assert run(select(root, {root.input: "l0"})) == [(0,), (1,)], "the filter ran before"


def test_a_limit_over_a_sort_is_one_top_n() -> None:
    root = Limit(Sort(LEAF, (SortKey(column("id"), descending=True),)), 2, 1)
    query = select(root, {LEAF: "l0"})
    assert run(query) == [(8,), (7,)]
    assert "ORDER BY" in query.rpartition("SELECT")[2]
    assert "LIMIT 2 OFFSET 1" in query.rpartition("SELECT")[2]


def test_definitions_stand_in_front() -> None:
    query = select(LEAF, {LEAF: "e0"}, [("e0", empty_relation(LEAF.fields))])
    assert run(query) == []
    assert run("DESCRIBE " + query)[0][:2] == ("id", "BIGINT")


def test_a_relation_without_columns_has_no_rows_either() -> None:
    assert run(empty_relation(())) == []


def test_user_functions_cut_the_tree_into_steps() -> None:
    made = user_function(Filter(LEAF, parse("id > 3")), "f")
    root = Limit(user_function(made, "g"), 2)
    first, f, g, last = steps(root, {LEAF: "l0"})
    assert isinstance(first, SqlStep)
    assert run(first.sql)[0] == (4,)
    assert isinstance(f, PythonStep)
    assert isinstance(g, PythonStep)
    assert (f.input, g.input, g.label) == (first.name, f.name, "g"), "no query between functions"
    assert isinstance(last, SqlStep)
    assert f'FROM "{g.name}"' in last.sql


def test_a_function_over_a_leaf_reads_the_leaf() -> None:
    (step,) = steps(user_function(LEAF), {LEAF: "l0"})
    assert isinstance(step, PythonStep)
    assert step.input == "l0"


def test_a_leaf_alone_is_a_step_too() -> None:
    assert steps(LEAF, {LEAF: "l0"}) == (SqlStep("#s0", 'SELECT * FROM "l0"'),)
