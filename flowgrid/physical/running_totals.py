"""Windows over all rows, without PARTITION BY, in parts: running totals and ranks by ranges.

Rows are dealt out by ranges of their order, so that equal ones are together. Each range tells what it
adds up to; what all ranges before it add up to is added to what its own rows say. So a first pass reads
the ranges to sum them up, and a second to number their rows. Totals without an order are an aggregate
beside every row.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from functools import partial

from sqlglot import exp

from flowgrid.expr.tree import Expr, cast, column, is_deterministic, parse, to_sql
from flowgrid.logical.fields import fields_of
from flowgrid.logical.nodes import (
    Aggregate,
    Join,
    JoinKind,
    Named,
    Node,
    Project,
    Sort,
    SortKey,
    Window,
)
from flowgrid.physical import aggregation
from flowgrid.physical.ordering import by_ranges, sort_key, window_order
from flowgrid.physical.partitioning import Single, Spread
from flowgrid.physical.planning import Planning
from flowgrid.physical.stage_book import Pipeline

_RANGE = "#range"
_BEFORE = "#before"
_ORDERED = "#in order"
_WHOLE = "#in all"

_NUMBERED: tuple[type[Expr], ...] = (exp.RowNumber, exp.Rank, exp.DenseRank)
_FOLDED: tuple[type[Expr], ...] = (exp.Sum, exp.Count, exp.Min, exp.Max, exp.Avg)


def group_of(expression: Expr) -> tuple[str, ...]:
    """Windows without PARTITION BY that can be computed in parts together have the same; () is none."""
    if not isinstance(expression, exp.Window) or expression.args.get("partition_by"):
        return ()
    function = expression.this
    inner = function.this if isinstance(function, exp.Filter) else function
    plain = not any(isinstance(one, exp.Distinct | exp.Order) for one in inner.iter_expressions())
    if not plain or not is_deterministic(expression):
        return ()
    order = expression.args.get("order")
    if order is None:
        return () if expression.args.get("spec") or isinstance(inner, _NUMBERED) else (_WHOLE,)
    numbered = isinstance(inner, _NUMBERED) and not inner.expressions and inner is function
    if numbered or (isinstance(inner, _FOLDED) and _until_here(expression.args.get("spec"))):
        return (_ORDERED, to_sql(order))
    return ()


def _until_here(spec: exp.WindowSpec | None) -> bool:
    """Whether a frame goes from the first row to the current one or its last peer."""
    if spec is None:
        return True
    start = (str(spec.args.get("start")).upper(), str(spec.args.get("start_side")).upper())
    end = str(spec.args.get("end") or "CURRENT ROW").upper()
    kind = str(spec.args.get("kind") or "RANGE").upper()
    return (
        start == ("UNBOUNDED", "PRECEDING")
        and end == "CURRENT ROW"
        and kind in ("ROWS", "RANGE")
        and not spec.args.get("exclude")
    )


def plan_in_parts(planner: Planning, node: Window, child: Pipeline) -> Pipeline | None:
    """The windows of one `group_of` without all rows in one task; None if there is no such way."""
    group = group_of(node.expressions[0].expression)
    if group[:1] == (_WHOLE,):
        beside = planner.decided(("beside", node), partial(_beside_every_row, node))
        if beside is None:
            return None
        return planner.pipeline(planner.rewritten("beside", node, lambda: beside))
    return _by_ranges(planner, node, child) if group else None


def _beside_every_row(node: Window) -> Node | None:
    functions = tuple(Named(one.name, one.expression.this) for one in node.expressions)
    total = Aggregate(node.input, (), functions)
    if aggregation.fold(total) is None:
        return None
    return Join(node.input, total, JoinKind.CROSS)


def _by_ranges(planner: Planning, node: Window, child: Pipeline) -> Pipeline:
    book = planner.book
    order = planner.decided(("order", node), lambda: Sort(node.input, window_order(node)))
    met = by_ranges(planner, order, child, number=_RANGE)
    if isinstance(met.partitioning, Single):
        return Pipeline(dataclasses.replace(node, input=met.node), Single())
    ranged = met.node
    totals = _Totals.of(node)
    summary = Aggregate(ranged, (Named(_RANGE, column(_RANGE)),), tuple(totals.summaries))
    sums = book.gathered((node, "summaries"), Pipeline(summary, Spread()))
    before = book.broadcast((node, "before"), Pipeline(totals.before(sums.node), Single()))
    rows = Window(dataclasses.replace(ranged), tuple(totals.local))
    same_range = exp.EQ(this=column(_RANGE), expression=column(_BEFORE))
    joined = Join(rows, before, JoinKind.INNER, same_range)
    types = {one.name: one.type for one in fields_of(node)}
    values = [Named(n, cast(value, types[n])) for n, value in totals.values.items()]
    kept = [Named(name, column(name)) for name in node.input.columns]
    return Pipeline(Project(joined, (*kept, *values)), Spread())


@dataclass
class _Totals:
    """What each range tells of itself, what its rows compute, and how both make the windows' values."""

    keys: tuple[SortKey, ...]
    summaries: list[Named] = field(default_factory=list)
    folds: list[tuple[str, str]] = field(default_factory=list)
    """Of each summary, its column and the aggregate that adds it up over the ranges before."""
    local: list[Named] = field(default_factory=list)
    values: dict[str, Expr] = field(default_factory=dict)

    @classmethod
    def of(cls, node: Window) -> _Totals:
        totals = cls(window_order(node))
        for named in node.expressions:
            assert isinstance(named.expression, exp.Window)
            totals.values[named.name] = totals._value(named.expression)
        return totals

    def before(self, summaries: Node) -> Node:
        """For each range, what all ranges before it add up to."""
        frame = f'OVER (ORDER BY "{_RANGE}" ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)'
        added = [Named(f"{name}+", parse(f'{how}("{name}") {frame}')) for name, how in self.folds]
        return Project(
            Window(summaries, tuple(added)),
            (Named(_BEFORE, column(_RANGE)), *(Named(o.name, column(o.name)) for o in added)),
        )

    def _value(self, window: exp.Window) -> Expr:
        function = window.this
        inner = function.this if isinstance(function, exp.Filter) else function
        match inner:
            case exp.RowNumber() | exp.Rank():
                return self._sum(window, exp.Count(this=exp.Star()))
            case exp.DenseRank():
                distinct = exp.Distinct(expressions=[parse(sort_key(self.keys))])
                return self._sum(window, exp.Count(this=distinct))
            case exp.Min() | exp.Max():
                here, before = self._both(window, function, inner.key)
                chosen = "least" if isinstance(inner, exp.Min) else "greatest"
                return exp.Anonymous(this=chosen, expressions=[here, before])  # not of NULLs
            case exp.Avg():
                sums = self._with(window, exp.Sum(this=inner.this.copy()))
                counts = self._with(window, exp.Count(this=inner.this.copy()))
                total, count = self._sum(sums, sums.this), self._sum(counts, counts.this)
                return exp.Div(this=cast(total, "DOUBLE"), expression=exp.Paren(this=count))
        return self._sum(window, function)

    def _with(self, window: exp.Window, function: Expr) -> exp.Window:
        """The same window of another function, with the same FILTER."""
        changed = window.copy()
        inner = changed.this.this if isinstance(changed.this, exp.Filter) else changed.this
        inner.replace(function)
        return changed

    def _sum(self, window: exp.Window, summary: Expr) -> Expr:
        here, before = self._both(window, summary, "sum")
        both = exp.Add(this=here.copy(), expression=before.copy())
        return exp.Coalesce(this=both, expressions=[here, before])

    def _both(self, window: exp.Window, summary: Expr, how: str) -> tuple[Expr, Expr]:
        """The window within the range, and the summary of the ranges before."""
        index = len(self.local)
        within = window.copy()
        within.set("partition_by", [column(_RANGE)])
        self.local.append(Named(f"#l{index}", within))
        self.summaries.append(Named(f"#s{index}", summary.copy()))
        self.folds.append((f"#s{index}", how))
        return column(f"#l{index}"), column(f"#s{index}+")
