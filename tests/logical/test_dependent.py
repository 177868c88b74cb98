"""What a dependent join is, and which columns a plan reads from outside."""

from __future__ import annotations

from sqlglot import exp

from flowgrid.expr.tree import column, parse
from flowgrid.logical.dependent import (
    DependentJoin,
    DependentKind,
    FreeColumns,
    at_most_one_row,
    one_row,
)
from flowgrid.logical.nodes import Aggregate, Filter, Leaf, Limit, Named, Project
from flowgrid.protocol.fragment import Field

LEFT = Leaf((Field("l.k", "INTEGER"), Field("l.x", "INTEGER")))
RIGHT = Leaf((Field("r.k", "INTEGER"),))
MATCHING = Filter(RIGHT, parse('"r.k" = "l.k" AND "r.k" > "far.z"'))


def test_a_plan_reads_freely_what_none_of_its_relations_has() -> None:
    assert FreeColumns().of(MATCHING) == {"l.k", "far.z"}
    assert FreeColumns().of(RIGHT) == frozenset()


def test_a_dependent_join_gives_its_left_columns_to_its_right_side() -> None:
    assert FreeColumns().of(DependentJoin(LEFT, MATCHING, DependentKind.SEMI)) == {"far.z"}


def test_the_kind_says_which_columns_there_are() -> None:
    columns = {
        kind: DependentJoin(LEFT, MATCHING, kind, mark="m").columns for kind in DependentKind
    }
    both = ("l.k", "l.x", "r.k")
    assert columns == {
        DependentKind.INNER: both,
        DependentKind.LEFT: both,
        DependentKind.SINGLE: both,
        DependentKind.SEMI: ("l.k", "l.x"),
        DependentKind.ANTI: ("l.k", "l.x"),
        DependentKind.MARK: ("l.k", "l.x", "m"),
    }


def test_only_an_aggregate_without_keys_has_a_row_whatever_happens() -> None:
    count = (Named("n", exp.Count(this=exp.Star())),)
    total = Aggregate(MATCHING, (), count)
    assert one_row(Project(total, (Named("m", column("n")),)))
    assert not one_row(Aggregate(MATCHING, (Named("k", column("r.k")),), count))
    assert not one_row(Filter(total, parse("n > 1")))
    assert at_most_one_row(Filter(total, parse("n > 1")))
    assert at_most_one_row(Limit(MATCHING, 1))
    assert not at_most_one_row(Limit(MATCHING, 2))
