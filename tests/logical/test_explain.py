"""A plan prints itself as an indented tree, and says what it shares."""

from __future__ import annotations

import sqlglot

from flowgrid.expr.tree import parse
from flowgrid.logical.explain import explain
from flowgrid.logical.nodes import Filter, IntegerRange, KernelQuery, Limit, Union
from flowgrid.protocol.fragment import Field

LEAF = IntegerRange((Field("id", "BIGINT"),), 0, 10, 1)


def test_the_root_comes_first_and_a_shared_plan_once() -> None:
    shared = Filter(LEAF, parse("id > 3"))
    assert explain(Union((Limit(shared, 1), shared))) == (
        "Union\n"
        "  Limit LIMIT 1\n"
        "    Filter id > 3 (shared 1)\n"
        "      IntegerRange 0..10 step 1\n"
        "  (shared 1)"
    )


def test_a_query_that_is_bound_shows_its_nodes() -> None:
    tree = sqlglot.parse_one('SELECT * FROM "#0" LIMIT 1', read="duckdb")
    bound = KernelQuery((LEAF,), tree, LEAF.fields, Limit(LEAF, 1))
    assert explain(bound) == "KernelQuery\n  Limit LIMIT 1\n    IntegerRange 0..10 step 1"
    unbound = KernelQuery((LEAF,), tree, LEAF.fields, "it is odd")
    assert explain(unbound).startswith("KernelQuery (one task: it is odd)\n  IntegerRange")
