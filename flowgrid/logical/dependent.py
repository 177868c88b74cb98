"""Joins whose right side is computed anew for every row of the left: what a subquery means.

Only the binder makes them, and `flowgrid.optimizer.decorrelation` turns every one into ordinary nodes
before anybody else sees the plan. So they have no query: no kernel runs them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from flowgrid.expr.tree import Expr, columns_of
from flowgrid.logical.nodes import (
    Aggregate,
    AsofJoin,
    Distinct,
    Filter,
    Join,
    KernelQuery,
    Limit,
    Node,
    Project,
    Sort,
    Window,
)


class CannotPartition(Exception):
    """Why a part of a query has no partitioned plan: an outcome for the binder, never the user's."""


class DependentKind(StrEnum):
    INNER = "inner"
    LEFT = "left"
    SEMI = "semi"
    ANTI = "anti"
    MARK = "mark"
    """Every left row, and a column that is true if a right row matches and NULL if none does."""
    SINGLE = "single"
    """Every left row with the only right row, or NULLs; a second right row is an error."""


@dataclass(frozen=True, eq=False)
class DependentJoin(Node):
    """Each left row with the rows of `right` for it; `right` may read the left row's columns."""

    left: Node
    right: Node
    kind: DependentKind
    condition: Expr | None = None
    mark: str = ""

    @cached_property
    def columns(self) -> tuple[str, ...]:
        match self.kind:
            case DependentKind.SEMI | DependentKind.ANTI:
                return self.left.columns
            case DependentKind.MARK:
                return (*self.left.columns, self.mark)
            case _:
                return self.left.columns + self.right.columns

    def describe(self) -> str:
        return f"DependentJoin {self.kind}"


def expressions_of(node: Node) -> list[Expr]:
    """Every expression of a node itself."""
    match node:
        case Project() | Window():
            return [named.expression for named in node.expressions]
        case Filter():
            return [node.predicate]
        case Aggregate():
            return [named.expression for named in node.keys + node.aggregates]
        case Sort():
            return [key.expression for key in node.keys]
        case Distinct():
            return [key.expression for key in node.order]
        case AsofJoin():
            return [node.condition]
        case Join() | DependentJoin() if node.condition is not None:
            return [node.condition]
        case _:
            return []


class FreeColumns:
    """The columns that a plan reads and none of its own relations has, remembered per node."""

    def __init__(self) -> None:
        self._known: dict[Node, frozenset[str]] = {}

    def of(self, node: Node) -> frozenset[str]:
        known = self._known.get(node)
        if known is None:
            inputs = node.inputs
            available = {name for child in inputs for name in child.columns}
            read = {name for found in expressions_of(node) for name in columns_of(found)}
            free = read - available
            for child in inputs:
                free |= self.of(child)
            if isinstance(node, DependentJoin):
                free -= set(node.left.columns)
            known = self._known[node] = frozenset(free)
        return known


ONE_ROW = "one row"
"""The reason of the kernel query that stands for a missing FROM."""


def one_row(node: Node) -> bool:
    """Whether the relation has exactly one row, whatever its inputs hold."""
    match node:
        case Aggregate():
            return not node.keys and node.sets is None
        case Project() | Window():
            return one_row(node.input)
        case Distinct():
            return one_row(node.input)
        case Sort():
            return one_row(node.input) and node.limit is None and not node.offset
        case KernelQuery():
            return node.reason == ONE_ROW
        case _:
            return False


def at_most_one_row(node: Node) -> bool:
    match node:
        case Sort() | Limit():
            return (node.limit is not None and node.limit <= 1) or at_most_one_row(node.input)
        case Project() | Window() | Filter() | Distinct():
            return at_most_one_row(node.input)
        case _:
            return one_row(node)
