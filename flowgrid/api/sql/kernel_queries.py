"""A query's tree as a query of the kernel's own, over whole relations."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

from sqlglot import exp

from flowgrid.api.sql.table_names import as_input, each_table
from flowgrid.expr.names import distinct_names
from flowgrid.expr.tree import Expr, quote, to_sql
from flowgrid.logical.nodes import KernelQuery, Node
from flowgrid.logical.rendering import empty_relation
from flowgrid.logical.schema import describe, schema_of
from flowgrid.protocol.fragment import Field


def over_inputs(
    tree: Expr,
    node_of: Callable[[exp.Table], Node | None],
    reason: str = "",
    later: bool = False,
) -> KernelQuery:
    """The tree as the kernel's own query over the relations that `node_of` finds for its tables.

    Raises what `describe` raises; `later` leaves that to whoever asks for the columns first.
    """
    tree = tree.copy()
    if isinstance(tree, exp.Pivot):
        tree = exp.Subquery(this=tree)
    if not isinstance(tree, exp.Select | exp.SetOperation):
        tree = exp.select("*").from_(tree)
    inputs: dict[Node, int] = {}

    def replace(table: exp.Table) -> None:
        node = node_of(table)
        if node is not None:
            as_input(table, inputs.setdefault(node, len(inputs)))

    each_table(tree, replace)
    if tree.args.get("with_"):  # a second WITH may not follow another one directly
        tree = _as_table(tree)
    if later:
        tree = _as_table(tree)  # which gives columns of one name names of their own
        return KernelQuery(tuple(inputs), tree, partial(_fields, tree, inputs), reason)
    fields = _fields(tree, inputs)
    names = distinct_names([field.name for field in fields])
    if names != [field.name for field in fields]:
        tree = _as_table(tree)
        fields = tuple(Field(name, field.type) for name, field in zip(names, fields, strict=True))
    return KernelQuery(tuple(inputs), tree, fields, reason)


def _fields(tree: Expr, inputs: Mapping[Node, int]) -> tuple[Field, ...]:
    tables = ", ".join(
        f"{quote(f'#{index}')} AS ({empty_relation(schema_of(node))})"
        for node, index in inputs.items()
    )
    return describe(f"WITH {tables} {to_sql(tree)}" if tables else to_sql(tree))


def _as_table(tree: Expr) -> Expr:
    alias = exp.TableAlias(this=exp.to_identifier("#query", quoted=True))
    return exp.select("*").from_(exp.Subquery(this=tree, alias=alias))
