"""A query's tree as partitioned nodes."""

from __future__ import annotations

from collections.abc import Mapping

from sqlglot import exp

from flowgrid.api.sql.kernel_queries import over_inputs
from flowgrid.api.sql.pivots import Pivoting, as_select, statement
from flowgrid.api.sql.scopes import (
    Bound,
    Context,
    Cte,
    Names,
    Naming,
    Output,
    Scope,
)
from flowgrid.api.sql.select_clause import bind_select
from flowgrid.api.sql.set_operations import bind_set_operation, with_order
from flowgrid.errors import PlanError
from flowgrid.expr.names import distinct_names
from flowgrid.expr.tree import Expr, column
from flowgrid.logical.dependent import ONE_ROW, CannotPartition
from flowgrid.logical.nodes import KernelQuery, Named, Node, Project
from flowgrid.optimizer.decorrelation import decorrelate
from flowgrid.protocol.fragment import Field


def partitioned(tree: Expr, tables: Mapping[str, Node], columns: tuple[str, ...]) -> Node | str:
    """The query as nodes over `tables`, with these columns; or why it runs as one task."""
    try:
        return decorrelate(_Binder(tables, columns).root(tree))
    except CannotPartition as reason:
        return str(reason)


class _Binder:
    """The binding of one query text; what it cannot bind becomes a query of the kernel, locally."""

    def __init__(self, tables: Mapping[str, Node], columns: tuple[str, ...]) -> None:
        self.tables, self.columns = tables, columns
        self.names = Names(reserved=columns)
        self.context = Context(
            tables, self.names, self.query, self.pivot, self.cte, self.kernel_leaf, self.one_row
        )

    def root(self, tree: Expr) -> Node:
        """The whole query with its columns. Raises `CannotPartition` if it is one task anyway."""
        bound = self._bind(tree, Scope(None), lambda index, _: self.columns[index])
        if isinstance(bound.node, Project) and isinstance(bound.node.input, KernelQuery):
            raise CannotPartition(bound.node.input.reason)
        if bound.node.columns == self.columns:
            return bound.node
        named = zip(self.columns, bound.unique_columns(), strict=True)
        return Project(bound.node, tuple(Named(name, column(old)) for name, old in named))

    def query(self, tree: Expr, scope: Scope, naming: Naming) -> Bound:
        """A query inside another; one task of the kernel's if it cannot be partitioned.

        Raises `CannotPartition` if it reads columns of the queries around it as well.
        """
        try:
            return self._bind(tree, scope, naming)
        except CannotPartition as reason:
            return self.kernel_leaf(tree, scope, str(reason), naming)

    def _bind(self, tree: Expr, around: Scope, naming: Naming) -> Bound:
        scope = Scope(around)
        with_ = tree.args.get("with_")
        if with_ is not None:
            recursive = bool(with_.args.get("recursive"))
            for cte in with_.expressions:
                defined = Scope(around, dict(scope.ctes))
                scope.ctes[cte.alias.casefold()] = Cte(cte.alias, cte, defined, recursive)
        match tree:
            case exp.Select():
                return bind_select(tree, scope, self.context, naming)
            case exp.SetOperation():
                return bind_set_operation(tree, scope, self.context, naming)
            case exp.Subquery():
                return with_order(self.query(tree.this, scope, naming), tree, self.context)
            case exp.Values():
                return self.kernel_leaf(tree, scope, "VALUES", naming)
            case exp.Pivot():
                return self.pivot(statement(tree), scope, naming)
            case _:
                raise CannotPartition(type(tree).__name__.upper())

    def pivot(self, pivoting: Pivoting, scope: Scope, naming: Naming) -> Bound:
        """PIVOT or UNPIVOT as the SELECT that it means; only the kernel knows its columns' names."""
        everything = exp.select("*").from_(pivoting.source.copy())
        inside = self.kernel_leaf(everything, scope, "PIVOT", self.names.anonymous)
        outside = self.kernel_leaf(pivoting.whole, scope, "PIVOT", self.names.anonymous)
        names = [output.name for output in outside.outputs]
        select = as_select(pivoting, [output.name for output in inside.outputs])
        if len(select.expressions) != len(names):
            raise CannotPartition("PIVOT")
        bound = self._bind(select, scope, lambda index, _: naming(index, names[index]))
        outputs = zip(names, bound.outputs, strict=True)
        return Bound(bound.node, tuple(Output(name, out.expression) for name, out in outputs))

    def cte(self, cte: Cte) -> Bound:
        if cte.bound is None:
            naming = self.names.under(self.names.prefix(cte.name))
            tree, reason = cte.tree.this, f"the recursive query {cte.name!r}"
            if cte.recursive and _reads(tree, cte.name):
                whole = exp.select("*").from_(exp.to_identifier(cte.name, quoted=True))
                whole.set("with_", exp.With(expressions=[cte.tree.copy()], recursive=True))
                cte.bound = self.kernel_leaf(whole, cte.scope, reason, naming)
            else:
                bound = self.query(tree, cte.scope, naming)
                given = [found.name for found in cte.tree.args["alias"].args.get("columns") or []]
                inferred = distinct_names([output.name for output in bound.outputs])
                names = given + inferred[len(given) :]
                cte.bound = Bound(
                    bound.node,
                    tuple(
                        Output(name, output.expression)
                        for name, output in zip(names, bound.outputs, strict=True)
                    ),
                )
        return cte.bound

    def kernel_leaf(self, tree: Expr, scope: Scope, reason: str, naming: Naming) -> Bound:
        """The tree as a query of the kernel's, if it needs nothing from the queries around it."""

        def node_of(table: exp.Table) -> Node | None:
            cte = scope.ctes.get(table.name.casefold()) if not table.db else None
            if cte is None:
                return self.tables.get(table.name.casefold())
            bound = self.cte(cte)
            columns = tuple(Named(out.name, out.expression) for out in bound.outputs)
            return decorrelate(Project(bound.node, columns))

        try:
            leaf = over_inputs(tree, node_of, reason)
        except PlanError:
            raise CannotPartition(reason) from None
        fresh = [naming(index, name) for index, name in enumerate(leaf.columns)]
        renamed = tuple(
            Named(new, column(old)) for new, old in zip(fresh, leaf.columns, strict=True)
        )
        outputs = zip(leaf.columns, fresh, strict=True)
        return Bound(
            Project(leaf, renamed), tuple(Output(name, column(new)) for name, new in outputs)
        )

    def one_row(self) -> Node:
        """The relation of a SELECT without FROM."""
        name = self.names.computed()
        tree = exp.select(exp.alias_(exp.Literal.number(0), name, quoted=True))
        return KernelQuery((), tree, (Field(name, "INTEGER"),), ONE_ROW)


def _reads(tree: Expr, name: str) -> bool:
    return any(found.name.casefold() == name.casefold() for found in tree.find_all(exp.Table))
