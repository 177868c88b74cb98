"""What does not depend on rows is computed once, in the driver, by the kernel itself."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

from sqlglot import exp

from flowgrid.expr.tree import Expr, conjunction
from flowgrid.logical.nodes import Filter, Join, Named, Node, Project
from flowgrid.logical.rendering import topological
from flowgrid.logical.schema import evaluate_constants
from flowgrid.optimizer.boolean_algebra import simplified
from flowgrid.optimizer.rewriting import rewrite
from flowgrid.optimizer.traits import is_literal, is_movable

_FOLDED = (exp.Binary, exp.Func, exp.Not, exp.Neg, exp.BitwiseNot, exp.Between, exp.In, exp.Paren)


def fold_constants(root: Node) -> Node:
    """The plan with constant subtrees of its predicates and projections as literals. Sort and group
    keys stay: a literal there would be the position of a column.
    """
    found: dict[Expr, None] = {}
    for node in topological(root):
        for expression in _expressions(node):
            found.update(dict.fromkeys(_constants(expression)))
    constants = list(found)
    values = dict(zip(constants, evaluate_constants(constants), strict=True)) if constants else {}
    return rewrite(root, lambda node, shared: _folded(node, values))


def _expressions(node: Node) -> Iterator[Expr]:
    match node:
        case Filter(predicate=predicate):
            yield predicate
        case Join(condition=condition) if condition is not None:
            yield condition
        case Project(expressions=expressions):
            yield from (named.expression for named in expressions)


def _constants(expression: Expr) -> Iterator[Expr]:
    """The largest parts without columns that are not literals already."""
    if not is_movable(expression):
        return
    stack = [expression]
    while stack:
        node = stack.pop()
        if isinstance(node, exp.Column | exp.DataType | exp.Lambda):
            continue
        if _is_constant(node):
            yield node
        else:
            stack.extend(node.iter_expressions())


def _is_constant(node: Expr) -> bool:
    if not isinstance(node, _FOLDED) or isinstance(node, exp.If) or is_literal(node):
        return False  # the parser calls an arm of CASE an If, and it has no value of its own
    # Names that are no columns are bound inside, as in a lambda, or belong to a struct.
    return node.find(exp.Column, exp.Identifier, exp.Star, exp.Placeholder) is None


def _folded(node: Node, values: dict[Expr, Expr]) -> Node:
    def fold(expression: Expr) -> Expr:
        return _replaced(expression, values)

    match node:
        case Filter():
            predicate = _predicate(node.predicate, fold)
            return node if predicate is node.predicate else Filter(node.input, predicate)
        case Join() if node.condition is not None:
            condition = _predicate(node.condition, fold)
            if condition is node.condition:
                return node
            return dataclasses.replace(node, condition=condition)
        case Project():
            expressions = tuple(
                named if (new := fold(named.expression)) is named.expression
                else Named(named.name, new)
                for named in node.expressions
            )  # fmt: skip
            same = all(a is b for a, b in zip(expressions, node.expressions, strict=True))
            return node if same else Project(node.input, expressions)
    return node


def _replaced(expression: Expr, values: dict[Expr, Expr]) -> Expr:
    changed = {part: values[part] for part in _constants(expression) if values[part] is not part}
    if not changed:
        return expression
    if expression in changed:
        return changed[expression].copy()

    def replace(node: Expr) -> Expr:
        found = changed.get(node)
        return node if found is None else found.copy()

    return expression.copy().transform(replace, copy=False)


def _predicate(predicate: Expr, fold: Callable[[Expr], Expr]) -> Expr:
    """Folded and simplified; the same object if there was nothing to do."""
    folded = fold(predicate)
    if not is_movable(folded):
        return folded
    simple = conjunction(simplified(folded)) or exp.Boolean(this=True)
    return predicate if simple == predicate else simple
