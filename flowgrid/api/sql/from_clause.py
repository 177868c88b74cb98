"""FROM: tables, derived tables and joins as one relation whose names the scope can see."""

from __future__ import annotations

import os
from collections.abc import Sequence

from sqlglot import exp

from flowgrid.api.sql.expressions import Block, resolve
from flowgrid.api.sql.pivots import clause
from flowgrid.api.sql.scopes import (
    Bound,
    Context,
    Cte,
    FromItem,
    Output,
    Scope,
    Source,
    renamed,
    table,
)
from flowgrid.api.sql.subqueries import keep_where
from flowgrid.api.sql.unnesting import unnest_table
from flowgrid.expr.names import distinct_names
from flowgrid.expr.tree import Expr, conjunction, equality, to_sql
from flowgrid.logical.dependent import CannotPartition, DependentJoin, DependentKind, FreeColumns
from flowgrid.logical.nodes import AsofJoin, Join, JoinKind, Node, Sample
from flowgrid.logical.schema import schema_of

_TABLE_PARTS = frozenset({"this", "alias", "joins", "sample"})
_JOIN_PARTS = frozenset({"this", "side", "kind", "method", "on", "using"})


def bind_from(select: exp.Select, scope: Scope, context: Context) -> Node:
    """The relation of a SELECT's FROM; the scope sees its tables afterwards."""
    first = select.args.get("from_")
    if first is None:
        return context.one_row()
    # A comma binds weaker than JOIN, so each comma starts a new group.
    groups: list[tuple[Expr, list[exp.Join]]] = [(first.this, [])]
    for join in select.args.get("joins") or []:
        if _is_comma(join):
            groups.append((join.this, []))
        else:
            groups[-1][1].append(join)
    relation: Node | None = None
    for tree, joins in groups:
        item = _FromBinder(scope, context).joined(tree, joins)
        relation = item.node if relation is None else _crossed(relation, item.node)
        scope.see(item)
    assert relation is not None
    return relation


def _is_comma(join: exp.Join) -> bool:
    return not any(join.args.get(part) for part in _JOIN_PARTS - {"this"})


class _FromBinder:
    """One group of FROM, between commas; the scope sees the tables of the groups before it."""

    def __init__(self, scope: Scope, context: Context) -> None:
        self.scope, self.context = scope, context

    def joined(self, tree: Expr, joins: Sequence[exp.Join]) -> FromItem:
        item = self.item(tree, None)
        for join in joins:
            item = self._join(item, join)
        return item

    # -- one table ---------------------------------------------------------------------------------

    def item(self, tree: Expr, left: FromItem | None) -> FromItem:
        """A table, a derived table or joins in parentheses; `left` is what a lateral one may read."""
        if tree.args.get("pivots"):
            item = self._pivoted(tree)
            for join in tree.args.get("joins") or []:
                item = self._join(item, join)
            return item
        if isinstance(tree, exp.Table):
            item = self._table(tree)
            for join in tree.args.get("joins") or []:
                item = self._join(item, join)
            return item
        if isinstance(tree, exp.Lateral | exp.Subquery) and not isinstance(tree.this, exp.Table):
            query = tree.this if isinstance(tree, exp.Lateral) else _without_alias(tree)
            return self._derived(query, tree, left)
        if isinstance(tree, exp.Subquery):
            return self._parenthesised(tree)
        if isinstance(tree, exp.Values):
            return self._derived(tree, tree, left)
        if isinstance(tree, exp.Unnest):
            return self._unnest(tree, left)
        raise CannotPartition(f"{type(tree).__name__.upper()} in FROM")

    def _pivoted(self, tree: Expr) -> FromItem:
        """A table with PIVOT or UNPIVOT behind it, which may have an alias of its own."""
        (pivot,) = tree.args["pivots"][-1:]
        alias = pivot.alias or tree.alias_or_name or "pivot"
        naming = self.context.names.under(self.context.names.prefix(alias))
        try:
            bound = self.context.bind_pivot(clause(tree), self.scope, naming)
        except CannotPartition as reason:
            alone = tree.copy()
            alone.set("joins", None)
            whole = exp.select("*").from_(alone)
            bound = self.context.kernel_leaf(whole, self.scope, str(reason), naming)
        return self._as_table(bound, alias, pivot)

    def _unnest(self, tree: exp.Unnest, left: FromItem | None) -> FromItem:
        if len(tree.expressions) != 1 or tree.args.get("offset"):
            raise CannotPartition("unnest in FROM with several lists or numbered")
        scope = Scope(self.scope, None)
        if left is not None:
            scope.see(left)
        block = Block(self.context, scope, self.context.one_row())
        items = resolve(tree.expressions[0], block)
        if block.has_subquery(items):
            raise CannotPartition("unnest of a subquery in FROM")
        alias = tree.alias or "unnest"  # the table's, and as there is only one, the column's too
        name = self.context.names.under(self.context.names.prefix(alias))(0, alias)
        node = unnest_table(items, name, self.context)
        return table(node, alias, _column_names(tree, [alias]), [name])

    def _table(self, tree: exp.Table) -> FromItem:
        if tree.args.get("sample"):
            complete = tree.copy()
            complete.set("sample", None)
            item = self._table(complete)
            return FromItem(sampled(item.node, tree.args["sample"]), item.sources, item.visible)
        unknown = {part for part, value in tree.args.items() if value} - _TABLE_PARTS
        alias = tree.alias_or_name
        if unknown or not isinstance(tree.this, exp.Identifier):
            leaf_tree = tree.copy()
            leaf_tree.set("joins", None)
            leaf_tree.set("alias", None)
            alias = tree.alias or to_sql(tree.this).split("(")[0].lower()
            reason = f"the table function {to_sql(tree.this)}"
            naming = self.context.names.under(self.context.names.prefix(alias))
            whole = exp.select("*").from_(leaf_tree)
            bound = self.context.kernel_leaf(whole, self.scope, reason, naming)
            return self._as_table(bound, alias, tree)
        cte = self.scope.ctes.get(tree.name.casefold())
        if cte is not None:
            return self._cte(cte, alias, tree)
        node = self.context.tables.get(tree.name.casefold())
        if node is None:
            raise CannotPartition(f"the file or table {tree.name!r}")
        names = _column_names(tree, node.columns)
        item = renamed(node, alias, names, node.columns, self.context.names)
        types = (field.type for field in schema_of(node))
        self.context.types.update(zip(item.node.columns, types, strict=True))
        return item

    def _cte(self, cte: Cte, alias: str, tree: exp.Table) -> FromItem:
        bound = self.context.bind_cte(cte)
        names = _column_names(tree, [output.name for output in bound.outputs])
        columns = bound.unique_columns()
        if not cte.used:
            cte.used = True
            return table(bound.node, alias, names, columns)
        return renamed(bound.node, alias, names, columns, self.context.names)

    def _derived(self, query: Expr, tree: Expr, left: FromItem | None) -> FromItem:
        scope = Scope(self.scope, None)
        if left is not None:
            scope.see(left)
        alias = tree.alias or "subquery"
        naming = self.context.names.under(self.context.names.prefix(alias))
        return self._as_table(self.context.bind_query(query, scope, naming), alias, tree)

    def _as_table(self, bound: Bound, alias: str, tree: Expr) -> FromItem:
        names = distinct_names([output.name for output in bound.outputs])
        if isinstance(tree.this, exp.GenerateSeries):  # its only column is called as the table is
            names = [alias]
        names = _column_names(tree, names)
        return table(bound.node, alias, names, bound.unique_columns())

    def _parenthesised(self, tree: exp.Subquery) -> FromItem:
        item = self.item(tree.this, None)
        if not tree.alias:
            return item
        outputs = tuple(
            Output(name, output.expression)
            for name, output in zip(
                _column_names(tree, [output.name for output in item.visible]),
                item.visible,
                strict=True,
            )
        )
        return FromItem(item.node, (Source(tree.alias, outputs),), outputs)

    # -- joins -------------------------------------------------------------------------------------

    def _join(self, left: FromItem, join: exp.Join) -> FromItem:
        unknown = {part for part, value in join.args.items() if value} - _JOIN_PARTS
        if unknown or join.method not in ("", "NATURAL", "ASOF"):
            raise CannotPartition(f"{join.method or unknown} JOIN")
        if join.method == "ASOF":
            return self._asof(left, join)
        kind = _kind(join)
        right = self.item(join.this, left)
        shared = _shared_names(left, right, join)
        if shared:
            return _joined_using(left, right, kind, shared)
        dependent = bool(FreeColumns().of(right.node) & set(left.node.columns))
        on = join.args.get("on")
        keeps = kind.keeps_right_columns
        item = FromItem(
            left.node,
            left.sources + (right.sources if keeps else ()),
            left.visible + (right.visible if keeps else ()),
        )
        node = self._conditioned(left, right, kind, on, dependent)
        return FromItem(node, item.sources, item.visible)

    def _asof(self, left: FromItem, join: exp.Join) -> FromItem:
        kind = _kind(join)
        if kind not in (JoinKind.INNER, JoinKind.LEFT):
            raise CannotPartition(f"ASOF {kind.upper()} JOIN")
        right = self.item(join.this, left)
        scope = Scope(self.scope, None)
        scope.see(left)
        scope.see(right)
        block = Block(self.context, scope, left.node)
        shared = [found.name for found in join.args.get("using") or []]
        if shared:  # equal in all but the last column, in which the right one is not later
            *equal, last = [(_visible(left, name), _visible(right, name)) for name in shared]
            near = exp.GTE(this=last[0], expression=last[1])
            condition = conjunction([*(equality(*pair) for pair in equal), near])
        else:
            condition = resolve(join.args["on"], block)
        assert condition is not None
        dependent = FreeColumns().of(right.node) & set(left.node.columns)
        if dependent or block.has_subquery(condition):
            raise CannotPartition("a lateral ASOF JOIN, or one with a subquery in ON")
        node = AsofJoin(left.node, right.node, condition, kind is JoinKind.LEFT)
        merged = {name.casefold() for name in shared}
        visible = (one for one in right.visible if one.name.casefold() not in merged)
        return FromItem(node, left.sources + right.sources, (*left.visible, *visible))

    def _conditioned(
        self, left: FromItem, right: FromItem, kind: JoinKind, on: Expr | None, dependent: bool
    ) -> Node:
        scope = Scope(self.scope, None)
        scope.see(left)
        scope.see(right)
        block = Block(self.context, scope, left.node)
        condition = resolve(on, block) if on is not None else None
        if dependent:
            if kind not in (JoinKind.INNER, JoinKind.CROSS, JoinKind.LEFT):
                raise CannotPartition(f"a lateral {kind} join")
            dependent_kind = DependentKind.LEFT if kind is JoinKind.LEFT else DependentKind.INNER
            if condition is not None and block.has_subquery(condition):
                raise CannotPartition("a subquery in ON of a lateral join")
            return DependentJoin(left.node, right.node, dependent_kind, _unless_true(condition))
        if kind is JoinKind.CROSS or (kind is JoinKind.INNER and _unless_true(condition) is None):
            return Join(left.node, right.node, JoinKind.CROSS)
        assert condition is not None
        if not block.has_subquery(condition):
            return Join(left.node, right.node, kind, condition)
        if kind is not JoinKind.INNER:
            raise CannotPartition(f"a subquery in ON of a {kind} join")
        block.relation = Join(left.node, right.node, JoinKind.CROSS)
        keep_where(condition, block)
        return block.relation


def sampled(node: Node, sample: exp.TableSample) -> Node:
    """Each row with a probability, by ``USING SAMPLE`` or ``TABLESAMPLE``; the same ones by a seed."""
    share, seed = sample.args.get("percent"), sample.args.get("seed")
    method = sample.args.get("method")
    if share is None or not isinstance(share, exp.Literal) or share.is_string:
        raise CannotPartition("a sample of so many rows")
    if method is not None and method.name.upper() not in ("BERNOULLI", "SYSTEM"):
        raise CannotPartition(f"a sample by {method.name.upper()}")
    if not 0 <= float(share.this) <= 100:
        raise CannotPartition("a sample of more than all rows")
    drawn = int(seed.this) if seed is not None else int.from_bytes(os.urandom(4))
    return Sample(node, float(share.this) / 100, drawn)


def _crossed(left: Node, right: Node) -> Node:
    """Every pair of rows; a derived table that reads the left one is computed anew for its rows."""
    if FreeColumns().of(right) & set(left.columns):
        return DependentJoin(left, right, DependentKind.INNER)
    return Join(left, right, JoinKind.CROSS)


def _joined_using(
    left: FromItem, right: FromItem, kind: JoinKind, shared: Sequence[str]
) -> FromItem:
    """USING and NATURAL: equal columns, each of them once in ``*``, from the side that has a row."""
    pairs = [(name, _visible(left, name), _visible(right, name)) for name in shared]
    condition = conjunction(equality(ours, theirs) for _, ours, theirs in pairs)
    node = Join(left.node, right.node, kind, condition)
    if not kind.keeps_right_columns:
        return FromItem(node, left.sources, left.visible)
    merged: dict[str, Expr] = {}
    for name, ours, theirs in pairs:
        match kind:
            case JoinKind.RIGHT:
                merged[name.casefold()] = theirs
            case JoinKind.FULL:
                merged[name.casefold()] = exp.Coalesce(this=ours, expressions=[theirs])
            case _:
                merged[name.casefold()] = ours
    visible = [
        Output(output.name, merged.get(output.name.casefold(), output.expression))
        for output in left.visible
    ] + [output for output in right.visible if output.name.casefold() not in merged]
    return FromItem(node, left.sources + right.sources, tuple(visible))


def _shared_names(left: FromItem, right: FromItem, join: exp.Join) -> list[str]:
    if join.method == "NATURAL":
        theirs = {output.name.casefold() for output in right.visible}
        return [output.name for output in left.visible if output.name.casefold() in theirs]
    return [found.name for found in join.args.get("using") or []]


def _visible(item: FromItem, name: str) -> Expr:
    found = [out.expression for out in item.visible if out.name.casefold() == name.casefold()]
    if len(found) != 1:
        raise CannotPartition(f"USING ({name}) of a column that is not there once")
    return found[0].copy()


def _kind(join: exp.Join) -> JoinKind:
    if join.kind in ("SEMI", "ANTI", "CROSS"):
        return JoinKind[join.kind]
    return JoinKind[join.side] if join.side else JoinKind.INNER


def _unless_true(condition: Expr | None) -> Expr | None:
    is_true = isinstance(condition, exp.Boolean) and bool(condition.this)
    return None if is_true else condition


def _column_names(tree: Expr, names: Sequence[str]) -> list[str]:
    """The names that a column list after an alias gives; it may be shorter than the table is wide."""
    alias = tree.args.get("alias")
    given = [found.name for found in alias.args.get("columns") or []] if alias is not None else []
    return given + list(names[len(given) :])


def _without_alias(tree: exp.Subquery) -> Expr:
    if not tree.args.get("alias"):
        return tree
    bare = tree.copy()
    bare.set("alias", None)
    return bare
