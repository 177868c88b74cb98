"""Dependent joins become plain ones; the domain is only joined where nothing else is right."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from flowgrid.api.sql import bind
from flowgrid.expr.tree import column, parse
from flowgrid.logical.dependent import DependentJoin, DependentKind
from flowgrid.logical.nodes import (
    Distinct,
    Filter,
    Join,
    JoinKind,
    KernelQuery,
    Leaf,
    Named,
    Node,
    Project,
    Union,
)
from flowgrid.logical.rendering import topological
from flowgrid.optimizer.decorrelation import decorrelate
from flowgrid.protocol.fragment import Field
from tests.api.sql_answers import Answers

COVERS = ["checks", "domains", "equalities", "lifting"]

QUERIES = Path(__file__).parents[2] / "benchmarks" / "tpch" / "queries"
TPCH_TABLES = {
    "lineitem": "l_orderkey BIGINT, l_partkey BIGINT, l_suppkey BIGINT, l_linenumber INTEGER, "
    "l_quantity DECIMAL(15,2), l_extendedprice DECIMAL(15,2), l_discount DECIMAL(15,2), "
    "l_tax DECIMAL(15,2), l_returnflag VARCHAR, l_linestatus VARCHAR, l_shipdate DATE, "
    "l_commitdate DATE, l_receiptdate DATE, l_shipinstruct VARCHAR, l_shipmode VARCHAR",
    "orders": "o_orderkey BIGINT, o_custkey BIGINT, o_orderstatus VARCHAR, "
    "o_totalprice DECIMAL(15,2), o_orderdate DATE, o_orderpriority VARCHAR, o_comment VARCHAR",
    "customer": "c_custkey BIGINT, c_name VARCHAR, c_nationkey BIGINT, c_phone VARCHAR, "
    "c_acctbal DECIMAL(15,2), c_mktsegment VARCHAR",
    "part": "p_partkey BIGINT, p_name VARCHAR, p_mfgr VARCHAR, p_brand VARCHAR, p_type VARCHAR, "
    "p_size INTEGER, p_container VARCHAR",
    "partsupp": "ps_partkey BIGINT, ps_suppkey BIGINT, ps_availqty INTEGER, "
    "ps_supplycost DECIMAL(15,2)",
    "supplier": "s_suppkey BIGINT, s_name VARCHAR, s_address VARCHAR, s_nationkey BIGINT, "
    "s_phone VARCHAR, s_acctbal DECIMAL(15,2), s_comment VARCHAR",
    "nation": "n_nationkey BIGINT, n_name VARCHAR, n_regionkey BIGINT",
    "region": "r_regionkey BIGINT, r_name VARCHAR",
}


@pytest.fixture(scope="module")
def answers() -> Iterator[Answers]:
    opened = Answers()
    yield opened
    opened.close()


def tpch_plan(number: int) -> Node:
    tables: dict[str, Node] = {}
    for name, columns in TPCH_TABLES.items():
        pairs = [text.split(" ", 1) for text in columns.split(", ")]
        tables[name] = Leaf(tuple(Field(column, type_) for column, type_ in pairs))
    query = bind((QUERIES / f"q{number:02d}.sql").read_text(), tables)
    assert isinstance(query, KernelQuery)
    assert query.bound is not None, query.reason
    return query.bound


def joins(plan: Node) -> list[JoinKind]:
    return [node.kind for node in topological(plan) if isinstance(node, Join)]


def domains(plan: Node) -> int:
    """How often distinct values of a left side were taken."""
    return sum(isinstance(node, Distinct) for node in topological(plan))


@pytest.mark.parametrize(
    ("number", "kinds"),
    [
        (2, [JoinKind.LEFT]),
        (4, [JoinKind.SEMI]),
        (16, [JoinKind.ANTI]),
        (17, [JoinKind.LEFT]),
        (18, [JoinKind.SEMI]),
        (20, [JoinKind.SEMI, JoinKind.LEFT, JoinKind.SEMI]),
        (21, [JoinKind.SEMI, JoinKind.ANTI]),
        (22, [JoinKind.ANTI]),
    ],
)
def test_the_subqueries_of_tpch_are_plain_joins_without_a_domain(
    number: int, kinds: list[JoinKind]
) -> None:
    plan = tpch_plan(number)
    assert [kind for kind in joins(plan) if kind is not JoinKind.CROSS] == kinds
    assert domains(plan) == 0


def test_equal_columns_make_groups_and_other_comparisons_need_the_domain(answers: Answers) -> None:
    equal = answers.agree("SELECT a, (SELECT sum(v) FROM u WHERE k = a) FROM t")
    less = answers.agree("SELECT a, (SELECT sum(v) FROM u WHERE k < a) FROM t")
    assert (domains(equal), domains(less)) == (0, 1)


def test_existence_never_needs_the_domain(answers: Answers) -> None:
    text = "SELECT * FROM t WHERE EXISTS (SELECT DISTINCT w FROM u WHERE k < a ORDER BY w LIMIT 3)"
    plan = answers.agree(text)
    assert joins(plan) == [JoinKind.SEMI]
    assert domains(plan) == 0


def test_a_constant_subquery_adds_no_join(answers: Answers) -> None:
    assert joins(answers.agree("SELECT a, (SELECT a + 1) FROM t")) == []


def test_a_subplan_used_twice_stays_one_node() -> None:
    left = Leaf((Field("l.k", "INTEGER"),))
    inner = Filter(Leaf((Field("r.k", "INTEGER"),)), parse('"r.k" < "l.k"'))
    twice = Union((inner, Project(inner, (Named("other", column("r.k")),))))
    plan = decorrelate(DependentJoin(left, twice, DependentKind.INNER))
    assert not any(isinstance(node, DependentJoin) for node in topological(plan))
    assert len([node for node in topological(plan) if isinstance(node, Filter)]) == 1
    assert plan.columns == ("l.k", "r.k")


def test_a_plan_without_dependent_joins_is_left_alone() -> None:
    leaf = Leaf((Field("x", "INTEGER"),))
    plan = Filter(leaf, parse("x > 1"))
    assert decorrelate(plan) is plan
