"""Windows over all rows that look a few rows back or ahead, in parts: `lag`, `lead`, frames of ROWS.

Rows are dealt out by ranges of their order. In a first pass each range tells its first and its last
rows; in a second its own rows are computed among those of the ranges around that are within reach.
Rows that tie are put in sequence by all their columns, so that both passes see the same one.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import partial

from sqlglot import exp

from flowgrid.expr.aggregates import is_aggregate
from flowgrid.expr.tree import Expr, column, is_deterministic, literal, parse, quote, to_sql
from flowgrid.logical.nodes import (
    Aggregate,
    Filter,
    Join,
    JoinKind,
    Named,
    Node,
    Project,
    Sort,
    Union,
    Unnest,
    Window,
)
from flowgrid.physical.exchanges import StageRead
from flowgrid.physical.ordering import by_ranges, window_order
from flowgrid.physical.partitioning import Single, Spread
from flowgrid.physical.planning import Planning
from flowgrid.physical.stage_book import Pipeline
from flowgrid.physical.stages import with_column

_RANGE, _OWN, _FIRST, _ROWS, _PLACE = "#range", "#own", "#first", "#rows", "#place"

_NEAR = "#within reach"

_REACH_MAX = 1000
"""So many rows of every range are sent to all tasks, at most."""


@dataclass(frozen=True)
class Reach:
    """How many rows before and after its own a window may look at."""

    before: int
    after: int


def group_of(expression: Expr) -> tuple[str, ...]:
    """Windows without PARTITION BY of one order and a short reach have the same; () is none."""
    if reach_of(expression) is None:
        return ()
    return (_NEAR, to_sql(expression.args["order"]))


def reach_of(expression: Expr) -> Reach | None:
    """The reach of a window in order, if it is a short one and does not depend on values."""
    if not isinstance(expression, exp.Window) or expression.args.get("partition_by"):
        return None
    if expression.args.get("order") is None or not is_deterministic(expression):
        return None
    function, spec = expression.this, expression.args.get("spec")
    inner = function.this if isinstance(function, exp.Filter) else function
    found: Reach | None = None
    if isinstance(inner, exp.Lag | exp.Lead) and inner is function and spec is None:
        rows = _count(inner.args.get("offset") or literal(1))
        if rows is not None:
            found = Reach(rows, 0) if isinstance(inner, exp.Lag) else Reach(0, rows)
    elif spec is not None and (is_aggregate(inner) or isinstance(inner, _OF_FRAMES)):
        found = _of_frame(spec)
    return found if found is not None and max(found.before, found.after) <= _REACH_MAX else None


_OF_FRAMES = (exp.FirstValue, exp.LastValue, exp.NthValue)


def _of_frame(spec: exp.WindowSpec) -> Reach | None:
    if str(spec.args.get("kind")).upper() != "ROWS" or spec.args.get("exclude"):
        return None
    start = _offset(spec.args.get("start"), spec.args.get("start_side"))
    end = _offset(spec.args.get("end") or "CURRENT ROW", spec.args.get("end_side"))
    if start is None or end is None:
        return None
    return Reach(max(0, -start), max(0, end))


def _offset(bound: object, side: object) -> int | None:
    """Where a frame begins or ends, in rows from the current one; None where that is not a number."""
    if isinstance(bound, str):
        return 0 if bound.upper() == "CURRENT ROW" else None
    rows = _count(bound)
    if rows is None:
        return None
    return -rows if str(side).upper() == "PRECEDING" else rows


def _count(value: object) -> int | None:
    return int(value.name) if isinstance(value, exp.Literal) and value.is_int else None


def plan_within_reach(planner: Planning, node: Window, child: Pipeline) -> Pipeline | None:
    """The windows of one `group_of` without all rows in one task; None if they are of another kind."""
    found = [reach_of(one.expression) for one in node.expressions]
    reaches = [reach for reach in found if reach is not None]
    if len(reaches) < len(found):
        return None
    reach = Reach(max(one.before for one in reaches), max(one.after for one in reaches))
    book = planner.book
    order = planner.decided(("order", node), lambda: Sort(node.input, window_order(node)))
    met = by_ranges(planner, order, child, number=_RANGE)
    if isinstance(met.partitioning, Single):
        return Pipeline(dataclasses.replace(node, input=met.node), Single())
    within = partial(_within_range, node)
    edges = book.kept((node, "edges"), Pipeline(_edges(met.node, within, reach), Spread()), "edges")
    near = _near(edges.node, node.input.columns, reach)
    sent = book.broadcast((node, "near"), Pipeline(near, Single()))
    own = with_column(dataclasses.replace(met.node), _OWN, exp.true())
    windows = tuple(Named(one.name, within(one.expression)) for one in node.expressions)
    seen = Window(Union((own, with_column(sent, _OWN, exp.false()))), windows)
    kept = tuple(Named(name, column(name)) for name in node.columns)
    return Pipeline(Project(Filter(seen, column(_OWN)), kept), Spread())


def _within_range(node: Window, expression: Expr) -> exp.Window:
    """A window of the node's over the rows of each range, in a sequence without ties."""
    window = expression.copy()
    assert isinstance(window, exp.Window)
    window.set("partition_by", [column(_RANGE)])
    order = window.args["order"]
    for name in node.input.columns:
        order.append("expressions", exp.Ordered(this=column(name), desc=False, nulls_first=True))
    return window


def _edges(ranged: Node, within: partial[exp.Window], reach: Reach) -> Node:
    """The first and the last rows of each range, and where in their range they are."""
    order = within.args[0].expressions[0].expression.args["order"]
    first = within(exp.Window(this=exp.RowNumber(), order=order.copy()))
    rows = parse(f"count(*) OVER (PARTITION BY {quote(_RANGE)})")
    numbered = Window(ranged, (Named(_FIRST, first), Named(_ROWS, rows)))
    at_edge = (
        f"{quote(_FIRST)} <= {max(1, reach.after)} "
        f"OR {quote(_FIRST)} > {quote(_ROWS)} - {max(1, reach.before)}"
    )
    kept = (*ranged.columns, _FIRST)
    return Project(
        Filter(numbered, parse(at_edge)), tuple(Named(name, column(name)) for name in kept)
    )


def _near(edges: Node, columns: tuple[str, ...], reach: Reach) -> Node:
    """For each range, the rows of others that are within its reach.

    Edges of all ranges, one after the other, have between two ranges all that either can reach.
    """
    assert isinstance(edges, StageRead)
    place = f"row_number() OVER (ORDER BY {quote(_RANGE)}, {quote(_FIRST)})"
    placed, again = (
        Window(dataclasses.replace(edges, together=True), (Named(_PLACE, parse(place)),))
        for _ in range(2)
    )
    start, end = f"min({quote(_PLACE)})", f"max({quote(_PLACE)})"
    wanted = (
        f"list_concat(range({start} - {reach.before}, {start}), "
        f"range({end} + 1, {end} + {reach.after} + 1))"
    )
    of_range = Named("#of", column(_RANGE))
    places = Aggregate(placed, (of_range,), (Named("#wanted", parse(wanted)),))
    same = exp.EQ(this=column(_PLACE), expression=column("#wanted"))
    found = Join(again, Unnest(places, "#wanted", keep_empty=False), JoinKind.INNER, same)
    kept = [Named(name, column(name)) for name in columns]
    return Project(found, (*kept, Named(_RANGE, column("#of"))))
