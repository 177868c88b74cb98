"""The select list as columns: ``*``, ``t.*``, ``* LIKE``, ``COLUMNS(…)`` and expressions.

Which columns a pattern means is asked from the kernel, over their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import cast

from sqlglot import exp

from flowgrid.api.sql.expressions import Block, resolve
from flowgrid.api.sql.scopes import Output, output_name
from flowgrid.expr.tree import Expr, bracketed, literal, to_sql
from flowgrid.logical.dependent import CannotPartition
from flowgrid.logical.schema import evaluate

_EACH = "#each column"

_PATTERNS = (exp.Like, exp.ILike, exp.SimilarTo, exp.RegexpLike, exp.Glob)


@dataclass(frozen=True)
class Item:
    """A column of the result: its name, and its expression over the columns of FROM."""

    name: str
    expression: Expr


def select_items(select: exp.Select, block: Block) -> Iterator[Item]:
    for tree in select.expressions:
        columns = _starred(tree, block)
        if columns is not None:
            yield from columns
            continue
        inner = tree.this if isinstance(tree, exp.Alias) else tree
        if not _patterns(inner):
            yield Item(output_name(tree), resolve(inner, block))
            continue
        if "\\" in tree.alias:
            raise CannotPartition("an alias with parts of a column's name")
        for item in expanded(inner, block):
            yield Item(tree.alias or item.name, item.expression)


def expanded(tree: Expr, block: Block) -> list[Item]:
    """An expression with ``COLUMNS(…)`` once for each column that it means; else as it is."""
    patterns = _patterns(tree)
    if not patterns:
        return [Item("", resolve(tree, block))]
    if len(set(tree.find_all(exp.Columns))) > 1 or patterns[0].args.get("unpack"):
        raise CannotPartition("COLUMNS(…) unpacked, or several that differ")
    pattern = patterns[0].copy()
    each = exp.Placeholder(this=_EACH)
    general = resolve(
        tree.copy().transform(lambda node: each.copy() if node == pattern else node, copy=False),
        block,
    )

    def with_column(value: Expr) -> Expr:
        return general.copy().transform(
            lambda node: bracketed(value, node.parent) if node == each else node, copy=False
        )

    return [Item(one.name, with_column(one.expression)) for one in _meant(pattern.this, block)]


def _patterns(tree: Expr) -> list[exp.Columns]:
    """The COLUMNS of an expression itself, not those of its subqueries."""
    inside = tree.walk(prune=lambda node: isinstance(node, exp.Query))
    return [node for node in inside if isinstance(node, exp.Columns)]


def _starred(tree: Expr, block: Block) -> Sequence[Item] | None:
    """The columns of ``*``, ``t.*`` and ``* LIKE pattern``; None for anything else."""
    negated = isinstance(tree, exp.Not)
    inner = tree.this if negated else tree
    if isinstance(inner, _PATTERNS) and _is_star(inner.this):
        name = exp.to_identifier("name")
        test = inner.copy()
        test.set("this", name)
        return _names_for(exp.Not(this=test) if negated else test, name, _star(inner.this, block))
    return _star(tree, block) if _is_star(tree) else None


def _is_star(tree: Expr) -> bool:
    return isinstance(tree, exp.Star) or (
        isinstance(tree, exp.Column) and isinstance(tree.this, exp.Star)
    )


def _meant(pattern: Expr, block: Block) -> Sequence[Item]:
    """The columns that the argument of COLUMNS means, in their own order."""
    everything = [Item(output.name, output.expression) for output in block.scope.visible]
    if _is_star(pattern):
        return _star(pattern, block)
    if isinstance(pattern, exp.Literal) and pattern.is_string:
        name = exp.to_identifier("name")
        matches = exp.Anonymous(this="regexp_matches", expressions=[name, pattern.copy()])
        return _names_for(matches, name, everything)
    if isinstance(pattern, exp.Lambda) and len(pattern.expressions) == 1:
        return _names_for(pattern.this, pattern.expressions[0], everything)
    if isinstance(pattern, exp.Array):
        wanted = {item.name.casefold() for item in pattern.expressions}
        return [item for item in everything if item.name.casefold() in wanted]
    raise CannotPartition("COLUMNS(…) of something else than a pattern")


def _names_for(test: Expr, name: Expr, items: Sequence[Item]) -> list[Item]:
    """The items for whose names the test is true."""
    tested = exp.Lambda(this=test.copy(), expressions=[name.copy()])
    names = to_sql(literal([item.name for item in items]))
    found = evaluate(f"SELECT list_transform({names}, {to_sql(tested)})")
    return [item for item, keep in zip(items, cast("list[object]", found), strict=True) if keep]


def _star(tree: Expr, block: Block) -> list[Item]:
    """``*`` or ``t.*`` without what EXCLUDE names, with what REPLACE and RENAME say."""
    if isinstance(tree, exp.Star):
        star, outputs = tree, block.scope.visible
    else:
        assert isinstance(tree, exp.Column)
        source = block.scope.source(tree.parts[0].name) if len(tree.parts) == 2 else None
        if source is None:
            raise CannotPartition(f"the table of {to_sql(tree)} was not found")
        star, outputs = tree.this, source.outputs
    if star.args.get("ilike"):
        raise CannotPartition("* ILIKE")
    return list(_changed(star, outputs, block))


def _changed(star: exp.Star, outputs: Sequence[Output], block: Block) -> Iterator[Item]:
    excluded = {found.name.casefold() for found in _listed(star, "except_")}
    replaced = {found.alias.casefold(): found.this for found in _listed(star, "replace")}
    names = {found.this.name.casefold(): found.alias for found in _listed(star, "rename")}
    for output in outputs:
        key = output.name.casefold()
        if key in excluded:
            continue
        expression = output.expression
        if key in replaced:
            expression = resolve(replaced[key], block)
        yield Item(names.get(key, output.name), expression)


def _listed(star: exp.Star, argument: str) -> list[Expr]:
    found = star.args.get(argument) or []
    return found if isinstance(found, list) else [found]
