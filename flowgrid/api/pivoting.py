"""Values as columns: `DataFrame.pivot`, one aggregate with a FILTER for each value."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from flowgrid.api.column import Column
from flowgrid.api.functions import col, count
from flowgrid.api.selections import aggregate
from flowgrid.errors import PlanError
from flowgrid.expr.names import column_named
from flowgrid.expr.tree import Expr, column, conjunction, literal
from flowgrid.logical.nodes import Aggregate, Filter, Named, Node, Sort, SortKey

FUNCTIONS = {
    "first": Column.first, "last": Column.last, "any_value": Column.any_value, "sum": Column.sum,
    "mean": Column.mean, "median": Column.median, "min": Column.min, "max": Column.max,
    "n_unique": Column.n_unique, "count": Column.count,
}  # fmt: skip


def columns_of_pivot(node: Node, names: str | Sequence[str]) -> list[str]:
    listed = [names] if isinstance(names, str) else list(names)
    return [column_named(name, node.columns, "pivot") for name in listed]


def distinct_values(node: Node, on: Sequence[str]) -> Node:
    """The values that are to become columns, in order; NULL is none."""
    keys = tuple(Named(name, column(name)) for name in on)
    known = conjunction(exp.Not(this=exp.Is(this=column(n), expression=exp.null())) for n in on)
    assert known is not None
    order = tuple(SortKey(column(name)) for name in on)
    return Sort(Aggregate(Filter(node, known), keys, ()), order)


def pivot(
    node: Node,
    on: Sequence[str],
    on_columns: Sequence[object],
    index: str | Sequence[str] | None,
    values: str | Sequence[str] | None,
    aggregate_function: str,
    separator: str,
) -> Node:
    """One row per `index`; a column for each of `on_columns`, values of `on`, and of `values`."""
    choices = [one if isinstance(one, tuple) else (one,) for one in on_columns]
    given = columns_of_pivot(node, values) if values is not None else None
    if index is None:
        taken = {*on, *(given or ())}
        if given is None:
            raise PlanError(
                "pivot needs index= or values=: which columns stay, or which are folded"
            )
        kept = [name for name in node.columns if name not in taken]
    else:
        kept = columns_of_pivot(node, index)
    if given is None:
        given = [name for name in node.columns if name not in {*on, *kept}]
    if aggregate_function != "len" and aggregate_function not in FUNCTIONS:
        known = ", ".join([*FUNCTIONS, "len"])
        raise PlanError(f"aggregate_function={aggregate_function!r} is none of {known}")
    if aggregate_function == "len":
        given = given[:1] or list(on[:1])
    wanted = []
    for name in given:
        folded = (
            count() if aggregate_function == "len" else FUNCTIONS[aggregate_function](col(name))
        )
        for choice in choices:
            shown = separator.join(map(_text, choice))
            title = shown if len(given) == 1 else f"{name}{separator}{shown}"
            wanted.append(Named(title, _filtered(folded.expression, on, choice)))
    return aggregate(node, [Named(name, column(name)) for name in kept], wanted)


def _filtered(folded: Expr, on: Sequence[str], choice: Sequence[object]) -> Expr:
    tests = conjunction(
        exp.NullSafeEQ(this=column(name), expression=literal(value))
        for name, value in zip(on, choice, strict=True)
    )
    return exp.Filter(this=folded.copy(), expression=exp.Where(this=tests))


def _text(value: object) -> str:
    return "null" if value is None else str(value)
