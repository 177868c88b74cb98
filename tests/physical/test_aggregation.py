"""Which aggregates fold in parts, and what the halves are."""

from __future__ import annotations

import pytest

from flowgrid.expr.tree import column, parse
from flowgrid.logical.explain import explain
from flowgrid.logical.fields import exported_fields
from flowgrid.logical.nodes import Aggregate, Leaf, Named
from flowgrid.logical.schema import schema_of
from flowgrid.physical.aggregation import calls_of, distinct_argument, fold
from flowgrid.protocol.fragment import Field

LEAF = Leaf(
    (Field("k", "INTEGER"), Field("v", "INTEGER"), Field("d", "DATE"), Field("t", "VARCHAR"))
)


def aggregate(*texts: str, sets: tuple[tuple[int, ...], ...] | None = None) -> Aggregate:
    named = tuple(Named(f"a{i}", parse(text)) for i, text in enumerate(texts))
    return Aggregate(LEAF, (Named("k", column("k")),), named, sets)


def test_parts_of_sums_and_counts_are_added() -> None:
    folded = fold(aggregate("sum(v)", "count(*)"))
    assert folded is not None
    assert folded.partial.describe() == "PartialAggregate SUM(v), COUNT(*) by k AS #k0"
    final = explain(folded.finish(folded.partial)).splitlines()[1].strip()
    assert 'sum("#a0")' in final
    assert 'coalesce(sum("#a1"), 0)' in final, "no part at all is a count of 0"


@pytest.mark.parametrize(
    "text", ["sum(v)", "count(v)", "avg(v)", "max(t)", "stddev(v)", "arg_max(t, v)", "min(d)",
             "count_if(v > 1)", "bool_or(v > 1)", "1 + sum(v) / count(*)"],
)  # fmt: skip
def test_folded_and_finished_it_has_the_type_it_has_whole(text: str) -> None:
    whole = aggregate(text)
    folded = fold(whole)
    assert folded is not None
    travelled = Leaf(exported_fields(folded.partial))
    assert schema_of(folded.finish(travelled)) == schema_of(whole)


@pytest.mark.parametrize(
    "text", ["count(DISTINCT v)", "list(v ORDER BY v)", "string_agg(t, ',')", "mode(v)", "avg(d)"]
)
def test_what_has_no_parts_is_not_folded(text: str) -> None:
    assert fold(aggregate("sum(v)", text)) is None


def test_grouping_sets_are_taken_apart_before_they_are_folded() -> None:
    assert fold(aggregate("sum(v)", sets=((0,), ()))) is None


def test_the_same_call_twice_travels_once() -> None:
    folded = fold(aggregate("sum(v)", "sum(v) * 2"))
    assert folded is not None
    assert [name for name, _ in folded.calls] == ["#a0"]


def test_calls_are_found_with_their_filters_and_names_of_the_kernel() -> None:
    (call,) = calls_of(parse("1 + abs(count(*) FILTER (WHERE v > 1))"))
    assert (call.name, call.plain) == ("count_star", True)
    (distinct,) = calls_of(parse("sum(DISTINCT v)"))
    assert not distinct.plain


def test_distinct_values_travel_once_per_task() -> None:
    rows = distinct_argument(aggregate("count(DISTINCT v)", "sum(DISTINCT v)"))
    assert rows is not None
    assert rows.columns == ("k", "v")
    assert explain(rows).startswith("Distinct\n  Project k, v")
    assert distinct_argument(aggregate("count(DISTINCT v)", "sum(v)")) is None
