"""From the names in an expression to columns of the plan; subqueries are set aside as placeholders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from flowgrid.api.sql.scopes import Context, Scope
from flowgrid.expr.aggregates import is_aggregate
from flowgrid.expr.names import bound_names
from flowgrid.expr.tree import Expr, bracketed, is_deterministic
from flowgrid.logical.dependent import CannotPartition
from flowgrid.logical.nodes import Node

_SUBQUERY_PREFIX = "subquery "


@dataclass
class Block:
    """One SELECT while it is bound: the relation so far and what its names mean."""

    context: Context
    scope: Scope
    relation: Node
    subqueries: dict[Expr, exp.Placeholder] = field(default_factory=dict)
    trees: dict[str, Expr] = field(default_factory=dict)
    answers: dict[Expr, Expr] = field(default_factory=dict)
    """Subqueries that the relation has a column for already, by their expression."""
    aliases: Mapping[str, Expr] = field(default_factory=dict)
    """Casefolded aliases of the select list that may be used at this point, as the user wrote them."""
    windows: Mapping[str, exp.Window] = field(default_factory=dict)

    def set_aside(self, query: Expr) -> exp.Placeholder:
        """A placeholder for a subquery; equal subqueries of one SELECT get the same one."""
        known = self.subqueries.get(query)
        if known is None:
            known = exp.Placeholder(this=f"{_SUBQUERY_PREFIX}{len(self.subqueries)}")
            self.subqueries[query] = known
            self.trees[known.name] = query
        return known.copy()

    def subquery(self, node: object) -> Expr | None:
        """The query behind a placeholder; None for anything else."""
        return self.trees.get(node.name) if isinstance(node, exp.Placeholder) else None

    def has_subquery(self, expression: Expr) -> bool:
        return any(found.name in self.trees for found in expression.find_all(exp.Placeholder))


def resolve(tree: Expr, block: Block, alias_first: Callable[[str], bool] = lambda _: False) -> Expr:
    """A new expression over unique column names; every subquery is a placeholder of the block.

    A bare name is a column of FROM, else an alias of the select list, else a column of a query
    around. `alias_first` says of a column, by its unique name, that an alias wins over it.
    """

    def replace(node: Expr) -> Expr:
        if isinstance(node, exp.Query):
            if isinstance(node.parent, exp.Array) and not isinstance(node, exp.Subquery):
                raise CannotPartition("ARRAY(SELECT …)")
            return block.set_aside(node.unnest())
        if isinstance(node, exp.Anonymous) and node.name.lower() == "all":
            (query,) = node.expressions  # the parser takes ALL ((…) UNION (…)) for a function
            return exp.All(this=block.set_aside(query.unnest()))
        if isinstance(node, exp.Column):
            return _column(node, block, alias_first)
        if isinstance(node, exp.Columns):
            raise CannotPartition("COLUMNS(…)")
        if isinstance(node, exp.Star) and not isinstance(node.parent, exp.Count):
            raise CannotPartition("* inside an expression")
        if isinstance(node, exp.Window) and node.args.get("alias"):
            return resolve(_with_named_window(node, block), block, alias_first)
        return node

    return tree.copy().transform(replace, copy=False)


def _column(node: exp.Column, block: Block, alias_first: Callable[[str], bool]) -> Expr:
    if isinstance(node.this, exp.Star):
        raise CannotPartition("t.* inside an expression")
    parts = [part.name for part in node.parts]
    if parts[0].casefold() in bound_names(node):
        return node
    found = block.scope.find_here(parts)
    alias = block.aliases.get(parts[0].casefold()) if len(parts) == 1 else None
    if alias is not None and (
        found is None
        or (isinstance(found, exp.Column) and alias_first(found.name) and not _in_aggregate(node))
    ):
        if not is_deterministic(alias):
            raise CannotPartition("an alias of a random value is used twice")
        return resolve(bracketed(alias, node.parent), _without_alias(block, parts[0]), alias_first)
    if found is None and block.scope.parent is not None:
        found = block.scope.parent.find(parts)
    if found is None and len(parts) == 1:
        found = _whole_row(parts[0], block)
    if found is None:
        raise CannotPartition(f"the name {'.'.join(parts)!r} was not found while planning")
    return bracketed(found, node.parent)


def _whole_row(alias: str, block: Block) -> Expr | None:
    """A table's name as a value: a struct of its columns."""
    source = block.scope.source(alias)
    if source is None:
        return None
    fields = [
        exp.PropertyEQ(
            this=exp.to_identifier(output.name, quoted=True), expression=output.expression.copy()
        )
        for output in source.outputs
    ]
    return exp.Struct(expressions=fields)


def _without_alias(block: Block, name: str) -> Block:
    """The block for what an alias stands for, which does not see the alias itself."""
    aliases = {key: value for key, value in block.aliases.items() if key != name.casefold()}
    return Block(
        block.context, block.scope, block.relation, block.subqueries, block.trees, block.answers,
        aliases, block.windows,
    )  # fmt: skip


def _in_aggregate(node: Expr) -> bool:
    parent = node.parent
    while parent is not None:
        if is_aggregate(parent):
            return True
        parent = parent.parent
    return False


def _with_named_window(node: exp.Window, block: Block) -> exp.Window:
    """OVER w written out: the parts of the named window, and those that the use adds."""
    named = block.windows.get(node.args["alias"].name.casefold())
    if named is None:
        raise CannotPartition(f"the window {node.args['alias'].name!r} was not found")
    if named.args.get("alias"):
        named = _with_named_window(named, block)
    merged = node.copy()
    merged.set("alias", None)
    for part in ("partition_by", "order", "spec"):
        if not merged.args.get(part) and named.args.get(part):
            value = named.args[part]
            merged.set(
                part, [item.copy() for item in value] if isinstance(value, list) else value.copy()
            )
    return merged
