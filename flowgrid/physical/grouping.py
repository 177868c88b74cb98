"""Verbs for which rows with equal keys must meet: aggregates, DISTINCT, windows, set operations."""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable
from functools import partial

from sqlglot import exp

from flowgrid.expr.tree import Expr, cast, column, to_sql
from flowgrid.logical.fields import fields_of
from flowgrid.logical.nodes import (
    Aggregate,
    Distinct,
    Named,
    Node,
    Project,
    SetOperation,
    Window,
)
from flowgrid.physical import aggregation, neighbours, running_totals
from flowgrid.physical.grouping_sets import without_sets
from flowgrid.physical.layout import is_skewed
from flowgrid.physical.partitioning import Hashed, Partitioning, Single, Spread, through_project
from flowgrid.physical.planning import Planning
from flowgrid.physical.stage_book import Pipeline, StageBook, all_of

_FOLDING_PAYS_BELOW = 0.5
"""Groups per row above which a fold before the exchange costs more than the rows it saves."""


def plan_aggregate(planner: Planning, node: Aggregate) -> Pipeline:
    """Folded where the rows are, met by their keys, folded again; or met first, if it must be."""
    if node.sets is not None:
        return planner.pipeline(planner.rewritten("sets", node, partial(without_sets, node)))
    child = planner.settled(node.input)
    here = dataclasses.replace(node, input=child.node)
    keys = [key.expression for key in node.keys]
    skewed = bool(node.keys) and is_skewed(child.node, planner.book.shape)
    if _together(child.partitioning, keys) and not skewed:
        return Pipeline(here, _after_keys(child.partitioning, here))
    folded = aggregation.fold(here)
    if folded is None and _together(child.partitioning, keys):
        return Pipeline(here, _after_keys(child.partitioning, here))
    if folded is not None and (not node.keys or skewed or _folding_pays(planner.book, here)):
        met = _met(planner, node, folded.partial, [column(key) for key in folded.keys])
        done = folded.finish(met.node)
        return Pipeline(done, _after_finish(met.partitioning, done))
    apart = None if node.keys else aggregation.by_distinct_argument(node)
    if apart is not None:
        return planner.pipeline(planner.rewritten("distinct", node, lambda: apart))
    rows = aggregation.distinct_argument(here) or aggregation.read_columns(here)
    if not node.keys:
        planner.book.notes.append(
            f"gathered to one task: {here.describe()} cannot be folded in parts"
        )
    met = _met(planner, node, rows, keys)
    if folded is not None and node.keys and is_skewed(met.node, planner.book.shape):
        return _folded_after(planner, node, met)
    done = dataclasses.replace(node, input=met.node)
    return Pipeline(done, _after_keys(met.partitioning, done))


def plan_partial_aggregate(planner: Planning, node: aggregation.PartialAggregate) -> Pipeline:
    """A fold that several others read: it is made where the rows are."""
    child = planner.pipeline(node.input)
    how = child.partitioning if isinstance(child.partitioning, Single) else Spread()
    return Pipeline(dataclasses.replace(node, input=child.node), how)


def plan_final_aggregate(planner: Planning, node: aggregation.FinalAggregate) -> Pipeline:
    """The second half of an aggregate over a fold that it shares with others."""
    child = planner.settled(node.input)
    if not isinstance(child.partitioning, Single):
        child = _met(planner, node, child.node, [column(key) for key in node.keys])
    return Pipeline(dataclasses.replace(node, input=child.node), child.partitioning)


def _folded_after(planner: Planning, node: Aggregate, met: Pipeline) -> Pipeline:
    """Of rows that were to meet by their keys, some keys have too many: these meet as folds."""
    folded = aggregation.fold(dataclasses.replace(node, input=met.node))
    assert folded is not None
    again = _met(planner, (node, "skewed"), folded.partial, [column(key) for key in folded.keys])
    done = folded.finish(again.node)
    return Pipeline(done, _after_finish(again.partitioning, done))


def plan_distinct(planner: Planning, node: Distinct) -> Pipeline:
    """Whole rows are made distinct where they are, then met; with `on`, all candidates must meet."""
    child = planner.settled(node.input)
    here = dataclasses.replace(node, input=child.node)
    keys: list[Expr] = [column(name) for name in (node.columns if node.on is None else node.on)]
    if _together(child.partitioning, keys):
        return Pipeline(here, child.partitioning)
    met = _met(planner, node, here if node.on is None else child.node, keys)
    return Pipeline(dataclasses.replace(node, input=met.node), met.partitioning)


def plan_window(planner: Planning, node: Window) -> Pipeline:
    """Windows of one PARTITION BY run where its rows meet; several are computed one after another."""
    groups: dict[tuple[str, ...], list[Named]] = {}
    for named in node.expressions:
        texts = tuple(to_sql(key) for key in _partition_keys(named.expression))
        groups.setdefault(texts or _over_all(named.expression), []).append(named)
    if len(groups) > 1:
        return planner.pipeline(planner.rewritten("windows", node, partial(_chained, node, groups)))
    keys = _partition_keys(node.expressions[0].expression)
    child = planner.settled(node.input)
    if _together(child.partitioning, keys):
        return Pipeline(dataclasses.replace(node, input=child.node), child.partitioning)
    if not keys:
        found = running_totals.plan_in_parts(planner, node, child)
        if found is None:
            found = neighbours.plan_within_reach(planner, node, child)
        if found is not None:
            return found
        planner.book.notes.append(f"gathered to one task: {node.describe()} has no PARTITION BY")
    met = _met(planner, node, child.node, keys)
    return Pipeline(dataclasses.replace(node, input=met.node), met.partitioning)


def _over_all(expression: Expr) -> tuple[str, ...]:
    return running_totals.group_of(expression) or neighbours.group_of(expression)


def _partition_keys(expression: Expr) -> list[Expr]:
    """The keys on which all windows of an expression agree; none if they do not."""
    windows = list(expression.find_all(exp.Window))
    keys = [tuple(to_sql(key) for key in one.args.get("partition_by") or ()) for one in windows]
    if len(set(keys)) != 1:
        return []
    found: list[Expr] = list(windows[0].args.get("partition_by") or ())
    return found


def _chained(node: Window, groups: dict[tuple[str, ...], list[Named]]) -> Node:
    tree = node.input
    for group in groups.values():
        tree = Window(tree, tuple(group))
    return Project(tree, tuple(Named(name, column(name)) for name in node.columns))


def plan_set_operation(planner: Planning, node: SetOperation) -> Pipeline:
    """INTERSECT and EXCEPT where equal rows of both sides meet, compared in the common types."""
    left, right = all_of(partial(planner.settled, node.left), partial(planner.settled, node.right))
    if isinstance(left.partitioning, Single) and isinstance(right.partitioning, Single):
        tree = dataclasses.replace(node, left=left.node, right=right.node)
        return Pipeline(tree, Single())
    fields = fields_of(dataclasses.replace(node, left=left.node, right=right.node))
    sides = []
    for side in (left, right):
        items = [
            Named(field.name, cast(column(name), field.type))
            for field, name in zip(fields, side.node.columns, strict=True)
        ]
        sides.append(Project(side.node, tuple(items)))
    keys = [column(field.name) for field in fields]
    types = [field.type for field in fields]
    targets = planner.book.targets((node, 0), *sides)
    met = all_of(
        *(
            partial(planner.book.hashed, (node, index), side, keys, types, targets)
            for index, side in enumerate(sides)
        )
    )
    tree = dataclasses.replace(node, left=met[0].node, right=met[1].node)
    return Pipeline(tree, met[0].partitioning)


def _met(planner: Planning, place: Hashable, source: Node, keys: list[Expr]) -> Pipeline:
    if not keys:
        return planner.book.gathered(place, Pipeline(source, Spread()))
    return planner.book.settled(planner.book.met(place, source, keys))


def _together(how: Partitioning, keys: list[Expr]) -> bool:
    """Whether rows that agree on all keys are in one task already."""
    if isinstance(how, Hashed):
        names = [key.name for key in keys if isinstance(key, exp.Column)]
        return how.groups_by(names)
    return isinstance(how, Single)


def _folding_pays(book: StageBook, node: Aggregate) -> bool:
    return book.rows_of(node) < _FOLDING_PAYS_BELOW * book.rows_of(node.input)


def _after_keys(how: Partitioning, node: Aggregate) -> Partitioning:
    kept = Project(node.input, node.keys)
    return through_project(how, kept)


def _after_finish(how: Partitioning, done: Node) -> Partitioning:
    return through_project(how, done) if isinstance(done, Project) else how
