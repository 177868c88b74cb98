"""Bugs that planners and optimizers really have had, to see that the search finds them."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import Any

import msgspec
import pytest

from flowgrid.api.sql import subqueries
from flowgrid.expr.tree import column, columns_of, conjunction, equality, to_sql
from flowgrid.logical.dependent import DependentJoin, DependentKind
from flowgrid.logical.nodes import Filter, JoinKind, Node, Project
from flowgrid.optimizer import lifting, limit_pushdown, predicate_pushdown
from flowgrid.physical import aggregation, joining, partitioning, planner
from flowgrid.physical.exchanges import StageRead
from flowgrid.physical.partitioning import Hashed, Partitioning, key_text

Plant = Callable[[pytest.MonkeyPatch], None]


def _claim_for_computed_keys(patch: pytest.MonkeyPatch) -> None:
    """Rows hashed by k are taken for hashed by whatever is computed of k."""
    honest = partitioning.through_project

    def through_project(how: Partitioning, project: Project) -> Partitioning:
        kept = honest(how, project)
        if not isinstance(how, Hashed) or isinstance(kept, Hashed):
            return kept
        for named in project.expressions:
            read = [key_text(column(name)) for name in columns_of(named.expression)]
            if tuple(read) in how.keys:
                claimed = frozenset([(key_text(column(named.name)),)])
                return msgspec.structs.replace(how, keys=claimed)
        return kept

    patch.setattr(planner, "through_project", through_project)


def _claim_for_extended_rows(patch: pytest.MonkeyPatch) -> None:
    """A full join's rows are taken for hashed by the left key, which may be NULL there."""

    def after(kind: JoinKind, left: Hashed, right: Hashed) -> Partitioning:
        return Hashed(left.keys, left.types, left.targets)

    patch.setattr(joining, "_after", after)


def _no_null_group(patch: pytest.MonkeyPatch) -> None:
    honest = aggregation.PartialAggregate.query

    def query(self: aggregation.PartialAggregate, names: Sequence[str]) -> str:
        if not self.keys:
            return honest(self, names)
        key = to_sql(self.keys[0].expression)
        return honest(self, [f"(SELECT * FROM {names[0]} WHERE ({key}) IS NOT NULL)"])

    patch.setattr(aggregation.PartialAggregate, "query", query)


def _count_of_nothing_is_null(patch: pytest.MonkeyPatch) -> None:
    """The classic of decorrelation: a row without a match counts NULL instead of 0."""
    patch.setattr(lifting, "values_of_empty_groups", lambda node: {})


def _average_of_averages(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(aggregation._COMBINED_BY, "avg", "avg")


def _filter_the_kept_side(patch: pytest.MonkeyPatch) -> None:
    """The kept side of a left join loses the rows without a partner before it travels."""
    honest = joining._KeyedJoin.filtering

    def filtering(self: Any) -> tuple[str, StageRead] | None:
        found = honest(self)
        if found is None or found[0] == "right" or self.node.kind is not JoinKind.LEFT:
            return found
        return ("right", self.read("right")) if self.is_below("right", float("inf")) else None

    patch.setattr(joining._KeyedJoin, "filtering", filtering)


def _limit_below_filter(patch: pytest.MonkeyPatch) -> None:
    honest = limit_pushdown._with_limited_inputs

    def with_limited_inputs(node: Node, rows: int, shared: Set[Node]) -> Node:
        if isinstance(node, Filter):
            return node.with_inputs([limit_pushdown._limited(node.input, rows, shared)])
        return honest(node, rows, shared)

    patch.setattr(limit_pushdown, "_with_limited_inputs", with_limited_inputs)


def _filter_before_window(patch: pytest.MonkeyPatch) -> None:
    """What is asked of a window's other columns is asked before the window sees its rows."""
    patch.setattr(
        predicate_pushdown,
        "_partition_columns",
        lambda node: frozenset(name.casefold() for name in node.input.columns),
    )


def _not_in_without_nulls(patch: pytest.MonkeyPatch) -> None:
    def keep_not_in(test: Any, block: Any) -> None:
        operands = subqueries._operands(test.operand, block)
        query = subqueries._bind(test.query, block)
        pairs = conjunction(map(equality, operands, subqueries._values(query, operands)))
        block.relation = DependentJoin(block.relation, query.node, DependentKind.ANTI, pairs)

    patch.setattr(subqueries, "_keep_not_in", keep_not_in)


PLANTED: dict[str, Plant] = {
    "hash partitioning claimed for a full join's NULL": _claim_for_extended_rows,
    "the NULL group dropped by a fold": _no_null_group,
    "count(*) of no rows is NULL after decorrelation": _count_of_nothing_is_null,
    "an average of averages": _average_of_averages,
    "a semi-join filter on the kept side of a left join": _filter_the_kept_side,
    "a limit pushed below a filter": _limit_below_filter,
    "a filter pushed below a window": _filter_before_window,
    "NOT IN that ignores NULL": _not_in_without_nulls,
    "hash partitioning claimed for a computed key": _claim_for_computed_keys,
}
