"""unnest: a row for each item of a list, in FROM and in the select list."""

from __future__ import annotations

from sqlglot import exp

from flowgrid.api.sql.expressions import Block
from flowgrid.api.sql.scopes import Context
from flowgrid.api.sql.subqueries import answered
from flowgrid.errors import PlanError
from flowgrid.expr.tree import Expr, column, columns_of
from flowgrid.logical.dependent import CannotPartition
from flowgrid.logical.nodes import Named, Node, Project, Unnest
from flowgrid.logical.rendering import empty_relation
from flowgrid.logical.schema import describe, schema_of
from flowgrid.optimizer.decorrelation import decorrelate
from flowgrid.protocol.fragment import Field


def unnested(expressions: list[Expr], block: Block) -> list[Expr]:
    """Expressions of a select list with ``unnest(list)`` as a column that the relation now has.

    Several lists are walked side by side; a short one goes on with NULLs.
    """
    found = dict.fromkeys(
        node for expression in expressions for node in expression.find_all(exp.Explode)
    )
    if not found:
        return expressions
    if any(call.expressions for call in found):
        raise CannotPartition("unnest with options")
    lists = [answered(call.this, block) for call in found]
    for items in lists:
        _check_list(items, block.relation, block.context)
    names: dict[Expr, str] = {call: block.context.names.computed() for call in found}
    if len(lists) == 1:
        (name,) = names.values()
        block.relation = _rows(block.relation, Named(name, lists[0]))
    else:
        zipped = block.context.names.computed()
        items = exp.Anonymous(this="list_zip", expressions=lists)
        passed = [Named(known, column(known)) for known in block.relation.columns]
        parts = [Named(name, _part(zipped, index)) for index, name in enumerate(names.values())]
        rows = _rows(block.relation, Named(zipped, items))
        block.relation = Project(rows, (*passed, *parts))

    def replace(node: Expr) -> Expr:
        return column(names[node]) if node in names else node

    return [expression.copy().transform(replace, copy=False) for expression in expressions]


def _rows(relation: Node, items: Named) -> Node:
    """A row for each of the items, with the relation's columns."""
    passed = tuple(Named(known, column(known)) for known in relation.columns)
    return Unnest(Project(relation, (*passed, items)), items.name, keep_empty=False)


def _part(zipped: str, index: int) -> Expr:
    number = exp.Literal.number(index + 1)
    return exp.Anonymous(this="struct_extract_at", expressions=[column(zipped), number])


def unnest_table(items: Expr, name: str, context: Context) -> Node:
    """``FROM unnest(items)``: one column, which may depend on the tables before it."""
    one = context.one_row()
    _check_list(items, one, context)
    return Unnest(Project(one, (Named(name, items),)), name, keep_empty=False)


def _check_list(items: Expr, relation: Node, context: Context) -> None:
    """Raises `CannotPartition` for anything but a list: a struct would become several columns."""
    read = columns_of(items)
    try:
        if all(name in context.types for name in read):
            fields = [Field(name, context.types[name]) for name in read]
            named = Named("items", items).sql()
            type_ = describe(f"SELECT {named} FROM ({empty_relation(fields)})")[0].type
        else:
            type_ = schema_of(Project(decorrelate(relation), (Named("items", items),)))[0].type
    except PlanError:
        raise CannotPartition("unnest of a list from a query around") from None
    if not type_.endswith("[]"):
        raise CannotPartition(f"unnest of {type_}")
