"""What a rule must know about an expression before it moves it.

Trees compare by value and remember their hash, so what is found out about one is kept. Names of
columns are casefolded here and everywhere in this folder: the kernel compares them so.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from sqlglot import exp

from flowgrid.expr.tree import Expr, is_deterministic

_OPAQUE = (exp.Query, exp.Columns, exp.Comprehension)
"""What hides columns from a look at the tree: subqueries, COLUMNS(…), names bound inside."""

_NOT_ROWWISE = (exp.Window, exp.AggFunc, exp.Explode, exp.Unnest, exp.Posexplode, *_OPAQUE)


@dataclass(frozen=True, slots=True)
class Traits:
    """`reads` is None if the columns cannot be told; `movable`: a value per row, the same each time."""

    reads: frozenset[str] | None
    movable: bool


@lru_cache(maxsize=8192)
def traits(expression: Expr) -> Traits:
    names: set[str] = set()
    told, rowwise = True, True
    for node in expression.walk():
        if isinstance(node, exp.Column):
            names.add(node.name.casefold())
            told = told and not node.args.get("table")
        elif isinstance(node, exp.Star):
            told = told and isinstance(node.parent, exp.Count)
        elif isinstance(node, _NOT_ROWWISE):
            rowwise = False
            told = told and not isinstance(node, _OPAQUE)
    movable = told and rowwise and is_deterministic(expression)
    return Traits(frozenset(names) if told else None, movable)


def reads(expression: Expr) -> frozenset[str] | None:
    """The columns that the expression reads; None if that cannot be told."""
    return traits(expression).reads


def is_movable(expression: Expr) -> bool:
    """Whether it may be computed elsewhere, or on other rows too, and means the same."""
    return traits(expression).movable


def reads_within(expression: Expr, columns: frozenset[str]) -> bool:
    found = reads(expression)
    return found is not None and found <= columns


def plain_column(expression: Expr) -> str | None:
    """The column, if the expression is one and nothing more."""
    if isinstance(expression, exp.Column) and not expression.args.get("table"):
        return expression.name.casefold()
    return None


def names_of(columns: tuple[str, ...]) -> frozenset[str]:
    return frozenset(name.casefold() for name in columns)


def column_pair(predicate: Expr) -> tuple[str, str] | None:
    """Both columns of ``a = b``."""
    if isinstance(predicate, exp.EQ):
        left = plain_column(predicate.this.unnest())
        right = plain_column(predicate.expression.unnest())
        if left is not None and right is not None and left != right:
            return left, right
    return None


def is_literal(expression: Expr) -> bool:
    """A constant as it is written: 1, -1, 'a', NULL, TRUE, CAST('1994-01-01' AS DATE)."""
    inner = expression.unnest()
    if isinstance(inner, exp.Cast | exp.Neg):
        inner = inner.this
    return isinstance(inner, exp.Literal | exp.Boolean | exp.Null)
