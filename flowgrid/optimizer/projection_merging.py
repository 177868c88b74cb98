"""Neighbouring projections become one, and those that change nothing go."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set

from sqlglot import exp

from flowgrid.expr.tree import Expr, replace_columns
from flowgrid.logical.nodes import Aggregate, Named, Node, Project
from flowgrid.optimizer.rewriting import is_rowwise, replacements, rewrite
from flowgrid.optimizer.traits import is_literal, is_movable, plain_column, reads


def merge_projections(root: Node) -> Node:
    return rewrite(root, _merged)


def _merged(node: Node, shared: Set[Node]) -> Node:
    if isinstance(node, Project):
        if _is_identity(node):
            return node.input
        if isinstance(node.input, Project) and _may_merge(node, node.input, shared):
            return _merged(_merge(node, node.input), shared)
    if isinstance(node, Aggregate) and isinstance(node.input, Project):
        return _rename_below(node, node.input)
    return node


def _is_identity(node: Project) -> bool:
    return node.columns == node.input.columns and all(
        plain_column(named.expression) == named.name.casefold() for named in node.expressions
    )


def _is_trivial(expression: Expr) -> bool:
    return plain_column(expression) is not None or is_literal(expression)


def _may_merge(outer: Project, inner: Project, shared: Set[Node]) -> bool:
    """Whether nothing is computed twice, and nothing changes by being computed elsewhere."""
    if not is_rowwise(inner) or any(reads(named.expression) is None for named in outer.expressions):
        return False
    if inner in shared and not all(_is_trivial(named.expression) for named in inner.expressions):
        return False
    uses = Counter(
        found.name.casefold()
        for named in outer.expressions
        for found in named.expression.find_all(exp.Column)
    )
    return all(
        uses[named.name.casefold()] <= 1 or _is_trivial(named.expression)
        for named in inner.expressions
    )


def _merge(outer: Project, inner: Project) -> Project:
    meaning = replacements(inner)
    return Project(inner.input, _replaced(outer.expressions, meaning))


def _replaced(expressions: tuple[Named, ...], meaning: dict[str, Expr]) -> tuple[Named, ...]:
    return tuple(
        Named(named.name, replace_columns(named.expression, meaning)) for named in expressions
    )


def _rename_below(node: Aggregate, inner: Project) -> Node:
    """An aggregate over a projection that only chooses and renames reads the columns themselves."""
    if not all(plain_column(named.expression) is not None for named in inner.expressions):
        return node
    parts = [named.expression for named in node.keys + node.aggregates]
    if any(reads(part) is None for part in parts):
        return node
    meaning = replacements(inner)
    keys, aggregates = _replaced(node.keys, meaning), _replaced(node.aggregates, meaning)
    if not all(is_movable(key.expression) for key in keys):
        return node
    return Aggregate(inner.input, keys, aggregates, node.sets)
