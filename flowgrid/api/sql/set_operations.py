"""UNION, INTERSECT and EXCEPT."""

from __future__ import annotations

from sqlglot import exp

from flowgrid.api.sql.expressions import Block, resolve
from flowgrid.api.sql.ordering import Ordering, limits
from flowgrid.api.sql.scopes import Bound, Context, Naming, Output, Scope
from flowgrid.api.sql.select_clause import ordered
from flowgrid.expr.tree import Expr, column
from flowgrid.logical.dependent import CannotPartition
from flowgrid.logical.nodes import Distinct, Named, Node, Project, SetOperation, Union


def bind_set_operation(
    tree: exp.SetOperation, scope: Scope, context: Context, naming: Naming
) -> Bound:
    left = context.bind_query(tree.this, scope, naming)
    right = context.bind_query(tree.expression, scope, context.names.anonymous)
    outputs = left.outputs
    if tree.args.get("by_name"):
        if not isinstance(tree, exp.Union):
            raise CannotPartition("INTERSECT or EXCEPT by name")
        inputs, outputs = _aligned(left, right, context)
    else:
        inputs = (_exact(left), _exact(right))
    node = _combined(tree, *inputs)
    return with_order(Bound(node, outputs), tree, context)


def with_order(query: Bound, tree: Expr, context: Context) -> Bound:
    """The query with the ORDER BY and LIMIT that stand after it, over the columns of its result."""
    limit, offset = limits(tree)
    names = [output.name for output in query.outputs]
    scope = Scope(None)
    scope.visible = query.outputs
    block = Block(context, scope, query.node)
    ordering = Ordering.of(tree.args.get("order"), names, lambda tree: resolve(tree, block))
    if block.subqueries:
        raise CannotPartition("a subquery in ORDER BY of a set operation")
    keys = ordering.keys(query.unique_columns(), lambda found: found)
    return Bound(ordered(query.node, keys, limit, offset), query.outputs)


def _combined(tree: exp.SetOperation, left: Node, right: Node) -> Node:
    distinct = bool(tree.args.get("distinct"))
    if isinstance(tree, exp.Union):
        union = Union((left, right))
        return Distinct(union) if distinct else union
    operator = "intersect" if isinstance(tree, exp.Intersect) else "except"
    return SetOperation(left, right, operator, not distinct)


def _exact(query: Bound) -> Node:
    """The query's columns and no others, in order: set operations match them by position."""
    wanted = query.unique_columns()
    if list(query.node.columns) == wanted:
        return query.node
    return Project(query.node, tuple(Named(name, column(name)) for name in wanted))


def _aligned(
    left: Bound, right: Bound, context: Context
) -> tuple[tuple[Node, Node], tuple[Output, ...]]:
    """Both sides with the columns of either, by name; NULL where a side does not have one."""
    names = {output.name.casefold(): output.name for output in (*right.outputs, *left.outputs)}
    order = list(
        dict.fromkeys(output.name.casefold() for output in (*left.outputs, *right.outputs))
    )
    sides: list[Node] = []
    columns: list[str] = []
    for query in (left, right):
        has = {output.name.casefold(): output.expression for output in query.outputs}
        columns = [context.names.computed() for _ in order]
        named = (
            Named(new, has.get(key, exp.null())) for new, key in zip(columns, order, strict=True)
        )
        sides.append(Project(query.node, tuple(named)))
        if query is left:
            outputs = tuple(
                Output(names[key], column(new)) for new, key in zip(columns, order, strict=True)
            )
    return (sides[0], sides[1]), outputs
