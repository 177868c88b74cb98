"""LIMIT in per cent, and LIMIT and OFFSET that a subquery says: rows are numbered and then filtered."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from flowgrid.api.sql.expressions import Block, resolve
from flowgrid.api.sql.subqueries import answered
from flowgrid.expr.tree import Expr, cast, column, conjunction
from flowgrid.logical.dependent import CannotPartition
from flowgrid.logical.nodes import Filter, Named, Node, Project, Sort, SortKey, Window


def is_computed(query: Expr) -> bool:
    """Whether how many rows are left is known only when the query runs."""
    clauses = [found for part in ("limit", "offset") if (found := query.args.get(part)) is not None]
    return any(
        isinstance(clause, exp.Limit | exp.Offset)
        and (_is_percent(clause) or clause.expression.find(exp.Query) is not None)
        for clause in clauses
    )


def limited(node: Node, keys: Sequence[SortKey], query: Expr, block: Block) -> Node:
    """The node's rows in order, without those that LIMIT and OFFSET of the query leave out."""
    names = block.context.names
    number, total = names.computed(), names.computed()
    windows = [Named(number, exp.Window(this=exp.RowNumber(), order=_order(keys), over="OVER"))]
    limit, offset = query.args.get("limit"), query.args.get("offset")
    if limit is not None and _is_percent(limit):
        windows.append(Named(total, exp.Window(this=exp.Count(this=exp.Star()), over="OVER")))
    inside = Block(block.context, block.scope, Window(node, tuple(windows)))
    skipped = _count(offset, inside) if offset is not None else exp.Literal.number(0)
    tests: list[Expr] = [exp.GT(this=column(number), expression=skipped)]
    if limit is not None:
        most = _share(limit, total) if _is_percent(limit) else _count(limit, inside)
        last = exp.Add(this=skipped.copy(), expression=most)
        kept = exp.LTE(this=column(number), expression=last)
        no_limit = exp.Is(this=most.copy(), expression=exp.null())
        tests.append(exp.Or(this=kept, expression=no_limit))
    test = conjunction(tests)
    assert test is not None
    test = answered(test, inside)  # first, as it changes the relation
    rows = Filter(inside.relation, test)
    result: Node = Project(rows, tuple(Named(name, column(name)) for name in node.columns))
    return Sort(result, tuple(keys)) if keys else result


def _is_percent(clause: Expr) -> bool:
    options = clause.args.get("limit_options")
    return options is not None and bool(options.args.get("percent"))


def _share(limit: Expr, total: str) -> Expr:
    """How many rows so many per cent of them are."""
    per_cent = limit.expression
    if not isinstance(per_cent, exp.Literal) or per_cent.is_string or float(per_cent.this) > 100:
        raise CannotPartition("LIMIT in per cent that are no number up to 100")
    share = exp.Mul(this=column(total), expression=cast(per_cent.copy(), "DOUBLE"))
    whole = exp.Div(this=exp.Paren(this=share), expression=exp.Literal.number(100))
    return cast(exp.Floor(this=whole), "BIGINT")


def _count(clause: Expr, block: Block) -> Expr:
    tree = clause.expression
    if tree.find(exp.Column) is not None and tree.find(exp.Query) is None:
        raise CannotPartition("LIMIT or OFFSET that depends on rows")
    return cast(resolve(tree, block), "BIGINT")


def _order(keys: Sequence[SortKey]) -> exp.Order | None:
    if not keys:
        return None
    return exp.Order(
        expressions=[
            exp.Ordered(
                this=key.expression.copy(), desc=key.descending, nulls_first=key.nulls_first
            )
            for key in keys
        ]
    )
