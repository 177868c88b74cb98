"""Equalities between the left row and the right side of a dependent join, and when they make groups.

Rows of the right side with equal values belong to the same left rows only if the kernel compares these
values as they are. If it converts them first, several values can equal one of the left ('1' and '01'
both are the number 1), and groups of equal values would be too small.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from sqlglot import exp

from flowgrid.errors import PlanError
from flowgrid.expr.tree import Expr, columns_of
from flowgrid.logical.nodes import (
    Aggregate,
    Distinct,
    Filter,
    Join,
    KernelQuery,
    Leaf,
    Limit,
    Named,
    Node,
    Project,
    Sort,
    Window,
)
from flowgrid.logical.schema import schema_of

Pair: TypeAlias = tuple[Expr, Expr, type[exp.Binary]]
"""The left row's side of an equality, the right side's, and which equality it is."""

_EXACT_NUMBER = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DECIMAL\(.*\)")
_DAY_OR_TIME = re.compile(r"DATE|TIMESTAMP")


@dataclass(frozen=True)
class Left:
    """The left side of a dependent join."""

    node: Node

    @cached_property
    def columns(self) -> frozenset[str]:
        return frozenset(self.node.columns)

    def pair(self, test: Expr, right: Node) -> Pair | None:
        """The sides of an equality between a left row and a right row; None for any other test."""
        if not isinstance(test, exp.EQ | exp.NullSafeEQ):
            return None
        for ours, theirs in ((test.this, test.expression), (test.expression, test.this)):
            read, theirs_read = set(columns_of(ours)), set(columns_of(theirs))
            if read and read <= self.columns and theirs_read <= set(right.columns) and theirs_read:
                ours, theirs = ours.unnest(), theirs.unnest()
                if _compared_as_it_is(_type(theirs, right), _type(ours, self.node)):
                    return ours, theirs, type(test)
        return None


def _compared_as_it_is(inner: str | None, outer: str | None) -> bool:
    if inner is None or outer is None:
        return False
    return inner == outer or any(
        kind.fullmatch(inner) and kind.fullmatch(outer) for kind in (_EXACT_NUMBER, _DAY_OR_TIME)
    )


def _type(expression: Expr, node: Node) -> str | None:
    """The kernel's type of an expression over a node; None if it cannot be told yet."""
    if isinstance(expression, exp.Column):
        found = _type_of_column(expression.name, node)
        if found is not None:
            return found
    try:
        return schema_of(Project(node, (Named("type", expression),)))[0].type
    except PlanError:  # the node still reads columns of a query around
        return None


def _type_of_column(name: str, node: Node) -> str | None:
    """The type of a column that comes from a leaf unchanged, without asking the kernel."""
    match node:
        case Leaf() | KernelQuery():
            return next((field.type for field in node.fields if field.name == name), None)
        case Project() | Aggregate():
            named = node.expressions if isinstance(node, Project) else node.keys
            source = next((item.expression for item in named if item.name == name), None)
            return (
                _type_of_column(source.name, node.input) if isinstance(source, exp.Column) else None
            )
        case Filter() | Sort() | Limit() | Distinct() | Window():
            return _type_of_column(name, node.input)
        case Join():
            return _type_of_column(name, node.left if name in node.left.columns else node.right)
        case _:
            return None
