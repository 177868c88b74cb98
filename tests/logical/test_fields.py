"""Fields that follow from those below are the ones that the kernel would tell, and it is not asked."""

from __future__ import annotations

import random

import pytest

from flowgrid.expr.tree import column, parse
from flowgrid.logical import schema
from flowgrid.logical.fields import exported_fields, fields_of, types_of
from flowgrid.logical.nodes import (
    Aggregate,
    AsofJoin,
    Filter,
    Join,
    JoinKind,
    Leaf,
    Named,
    Node,
    Project,
    SetOperation,
    Sort,
    SortKey,
    Union,
    Unnest,
    Window,
)
from flowgrid.logical.rendering import topological
from flowgrid.logical.schema import schema_of
from flowgrid.physical.aggregation import PartialAggregate
from flowgrid.protocol.fragment import Field
from tests.optimizer.plans import Grammar

LEFT = Leaf((Field("i", "INTEGER"), Field("d", "DECIMAL(9,2)"), Field("l", "VARCHAR[]")))
RIGHT = Leaf((Field("j", "BIGINT"), Field("e", "DECIMAL(12,3)"), Field("m", "VARCHAR[]")))


def named(**texts: str) -> tuple[Named, ...]:
    return tuple(Named(name, parse(text)) for name, text in texts.items())


@pytest.fixture
def questions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What the kernel is asked."""
    asked: list[str] = []

    def describe(query: str) -> tuple[Field, ...]:
        asked.append(query)
        return original(query)

    original = schema.describe
    monkeypatch.setattr("flowgrid.logical.fields.describe", describe)
    return asked


@pytest.mark.parametrize(
    "node",
    [
        Filter(LEFT, parse("i > 1")),
        Sort(LEFT, (SortKey(column("i")),), 3),
        Project(LEFT, named(x="D", i="i")),
        Aggregate(LEFT, named(k="i", d="d"), ()),
        *(Join(LEFT, RIGHT, kind, parse("i = j")) for kind in JoinKind if kind != "cross"),
        AsofJoin(LEFT, RIGHT, parse("i = j AND d >= e")),
        Union((LEFT, LEFT)),
    ],
    ids=Node.describe,
)
def test_what_nothing_computes_is_passed_on(node: Node, questions: list[str]) -> None:
    assert fields_of(node) == schema_of(node)
    assert not questions


@pytest.mark.parametrize(
    "node",
    [
        Project(LEFT, named(i="i", x="d * i")),
        Aggregate(LEFT, named(i="i"), named(s="sum(d)", n="count(*)")),
        Aggregate(LEFT, named(i="i", d="d"), named(g="grouping(i)"), ((0,), (1,))),
        Window(LEFT, named(n="row_number() OVER (ORDER BY i)")),
        Unnest(LEFT, "l"),
        Union((LEFT, RIGHT)),
        SetOperation(LEFT, RIGHT, "except"),
    ],
    ids=Node.describe,
)
def test_what_is_computed_is_asked_for_by_itself(node: Node, questions: list[str]) -> None:
    above = Filter(Project(node, tuple(Named(name, column(name)) for name in node.columns)),
                   parse("true"))  # fmt: skip
    assert fields_of(above) == schema_of(above)
    assert len(questions) == 1, "what stands above it is not part of the question"
    assert "WHERE TRUE" not in questions[0]


def test_random_plans_have_the_fields_that_the_kernel_tells(seed: int) -> None:
    grammar = Grammar(random.Random(seed))
    for _ in range(10):
        for node in topological(grammar.plan(3)):
            assert fields_of(node) == schema_of(node)


def test_types_of_columns_and_of_what_is_computed() -> None:
    assert types_of(LEFT, [column("I"), parse("l")]) == ("INTEGER", "VARCHAR[]")
    assert types_of(LEFT, [parse("d * d")]) == ("DECIMAL(18,4)",)


def test_states_of_aggregates_travel_as_ordinary_values() -> None:
    state = PartialAggregate(LEFT, (), (("s", "avg(i) EXPORT_STATE"),))
    assert fields_of(state)[0].type.startswith("AGGREGATE_STATE")
    assert exported_fields(state)[0].type.startswith("STRUCT")
    assert exported_fields(LEFT) == LEFT.fields


def test_states_folded_again_before_they_travel_are_asked_for_with_what_made_them() -> None:
    state = PartialAggregate(LEFT, named(i="i"), (("s", "avg(i) EXPORT_STATE"),))
    fields_of(state)
    again = PartialAggregate(state, (), (("s", "combine_aggr(s)"),))
    assert fields_of(again)[0].type.startswith("AGGREGATE_STATE")
