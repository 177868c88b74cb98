"""The quick way out of a dependent join: comparisons with the left row's columns lifted to the top.

Below the join stays a relation that depends on nothing. That works as long as what is between the
comparison and the top does the same for all left rows that the comparison lets through.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlglot import exp

from flowgrid.expr.tree import (
    Expr,
    column,
    columns_of,
    conjunction,
    conjuncts,
    replace_columns,
)
from flowgrid.logical.dependent import FreeColumns, expressions_of, one_row
from flowgrid.logical.nodes import (
    Aggregate,
    Distinct,
    Filter,
    Join,
    JoinKind,
    Limit,
    Named,
    Node,
    Project,
    Sort,
    SortKey,
    Window,
)
from flowgrid.optimizer.equalities import Left, Pair

_ZERO_IF_EMPTY = (exp.Count, exp.ApproxDistinct, exp.RegrCount)
_ZERO_IF_EMPTY_NAMES = frozenset({"count_star", "entropy", "approx_count_distinct"})
"""`count_if` is not among them: the kernel takes it for a sum."""


@dataclass
class Lifted:
    """A relation that depends on nothing, and how its rows belong to those of the left."""

    node: Node
    conditions: list[Expr]
    """Over columns of the left and of `node`."""
    deferred: dict[str, Expr]
    """Columns to compute above the join, over columns of the left and of `node`."""
    complete: bool
    """Whether each left row has exactly one row, so that a row without a match is an empty group."""

    def restored(self, expressions: Sequence[Expr | None]) -> list[Expr]:
        """Expressions over the original columns as they are above the join."""
        values = {name.casefold(): value for name, value in self.deferred.items()}
        return [replace_columns(found, values) for found in expressions if found is not None]


def lift(node: Node, left: Left, free: FreeColumns, fresh: Iterator[str]) -> Lifted | None:
    """The node with all that reads `left` lifted; None if that would change its rows."""
    if free.of(node).isdisjoint(left.columns):
        return Lifted(node, [], {}, one_row(node))
    lifting = _Lifting(left, free, fresh)
    match node:
        case Filter():
            return lifting.filter(node)
        case Project():
            return lifting.project(node)
        case Aggregate():
            return lifting.aggregate(node)
        case Join():
            return lifting.join(node)
        case Distinct() | Window() | Limit() | Sort():
            return lifting.within_groups(node)
        case _:
            return None


@dataclass(frozen=True)
class _Lifting:
    left: Left
    free: FreeColumns
    fresh: Iterator[str]

    def below(self, node: Node) -> Lifted | None:
        return lift(node, self.left, self.free, self.fresh)

    def depends(self, expression: Expr) -> bool:
        return not self.left.columns.isdisjoint(columns_of(expression))

    def filter(self, node: Filter) -> Lifted | None:
        found = self.below(node.input)
        if found is None or found.complete:
            return None
        kept: list[Expr] = []
        for part in conjuncts(node.predicate):
            (above,) = found.restored([part])
            (found.conditions if self.depends(above) else kept).append(above)
        predicate = conjunction(kept)
        if predicate is not None:
            found.node = Filter(found.node, predicate)
        return found

    def project(self, node: Project) -> Lifted | None:
        found = self.below(node.input)
        if found is None:
            return None
        named: list[Named] = []
        deferred: dict[str, Expr] = {}
        for item in node.expressions:
            (above,) = found.restored([item.expression])
            if self.depends(above) or found.complete or above != item.expression:
                deferred[item.name] = above
            else:
                named.append(item)
        here = {item.name for item in named}
        available = set(found.node.columns)
        for expression in [*found.conditions, *deferred.values()]:
            for name in columns_of(expression):
                if name in available and name not in here:
                    named.append(Named(name, column(name)))
                    here.add(name)
        if any(item.expression != column(item.name) for item in named):
            found.node = Project(found.node, tuple(named))
        found.deferred = deferred
        return found

    def aggregate(self, node: Aggregate) -> Lifted | None:
        found = self.below(node.input)
        if found is None or found.complete or found.deferred or node.sets is not None:
            return None
        if any(self.depends(expression) for expression in expressions_of(node)):
            return None
        pairs = self._pairs(found)
        if pairs is None:
            return None
        keys = list(node.keys)
        conditions: list[Expr] = []
        for ours, inner, compare in pairs:
            name = next((key.name for key in node.keys if key.expression == inner), None)
            if name is None:
                name = next(self.fresh)
                keys.append(Named(name, inner))
            conditions.append(compare(this=ours, expression=column(name)))
        grouped = Aggregate(found.node, tuple(keys), node.aggregates)
        if node.keys:
            return Lifted(grouped, conditions, {}, False)
        return Lifted(grouped, conditions, values_of_empty_groups(node), True)

    def join(self, node: Join) -> Lifted | None:
        left, right = self.below(node.left), self.below(node.right)
        if left is None or right is None:
            return None
        if not set(left.node.columns).isdisjoint(right.node.columns):  # two uses of one subplan
            return None
        both = node.kind in (JoinKind.INNER, JoinKind.CROSS)
        if not both and (
            node.kind not in (JoinKind.LEFT, JoinKind.SEMI, JoinKind.ANTI)
            or self.free.of(node.right) & self.left.columns
        ):
            return None
        for side, original in ((left, node.left), (right, node.right)):
            if side.complete and self.free.of(original) & self.left.columns:
                return None
        deferred = left.deferred | right.deferred
        found = Lifted(node, left.conditions + right.conditions, deferred, False)
        kept: list[Expr] = []
        for part in conjuncts(node.condition):
            (above,) = found.restored([part])
            (found.conditions if self.depends(above) else kept).append(above)
        if not both and (len(kept) != len(list(conjuncts(node.condition))) or deferred):
            return None
        condition = conjunction(kept) if both else node.condition
        kind = node.kind if condition is not None else JoinKind.CROSS
        found.node = Join(left.node, right.node, kind, condition)
        return found

    def within_groups(self, node: Distinct | Window | Limit | Sort) -> Lifted | None:
        """What looks at several rows at once looks at those of one group: equal keys, not all rows."""
        found = self.below(node.input)
        if found is None or found.complete:
            return None
        if isinstance(node, Sort) and node.limit is None and not node.offset:
            return found
        if found.deferred or any(map(self.depends, expressions_of(node))):
            return None
        pairs = self._pairs(found)
        if pairs is None or (isinstance(node, Distinct) and node.on is not None):
            return None
        keys = [inner for _, inner, _ in pairs]
        match node:
            case Distinct():
                found.node = Distinct(found.node)
            case Window():
                found.node = Window(found.node, partitioned(node.expressions, keys))
            case Sort():
                found.node = first_rows(
                    found.node, keys, node.keys, node.limit, node.offset, next(self.fresh)
                )
            case Limit():
                found.node = first_rows(
                    found.node, keys, (), node.limit, node.offset, next(self.fresh)
                )
        return found

    def _pairs(self, found: Lifted) -> list[Pair] | None:
        pairs = [self.left.pair(test, found.node) for test in found.conditions]
        known = [one for one in pairs if one is not None]
        return known if len(known) == len(pairs) else None


def values_of_empty_groups(node: Aggregate) -> dict[str, Expr]:
    """The aggregates that are not NULL over no rows, as they are where a group may be missing."""
    return {
        named.name: exp.Coalesce(this=column(named.name), expressions=[exp.Literal.number(0)])
        for named in node.aggregates
        if _zero_if_empty(named.expression)
    }


def _zero_if_empty(expression: Expr) -> bool:
    if isinstance(expression, exp.Filter):
        return _zero_if_empty(expression.this)
    if isinstance(expression, exp.Anonymous):
        return expression.name.lower() in _ZERO_IF_EMPTY_NAMES
    return isinstance(expression, _ZERO_IF_EMPTY)


def partitioned(windows: Sequence[Named], keys: Sequence[Expr]) -> tuple[Named, ...]:
    """Window expressions that look at rows with equal keys only."""

    def partition(node: Expr) -> Expr:
        if isinstance(node, exp.Window):
            node.set(
                "partition_by", [*(node.args.get("partition_by") or []), *(k.copy() for k in keys)]
            )
        return node

    return tuple(
        Named(named.name, named.expression.copy().transform(partition, copy=False))
        for named in windows
    )


def first_rows(
    node: Node,
    keys: Sequence[Expr],
    order: Sequence[SortKey],
    limit: int | None,
    offset: int,
    number: str,
) -> Node:
    """LIMIT and OFFSET for each value of the keys; `number` is a free column name."""
    if not keys:
        return Sort(node, tuple(order), limit, offset) if order else Limit(node, limit, offset)
    ordered = [
        exp.Ordered(this=key.expression.copy(), desc=key.descending, nulls_first=key.nulls_first)
        for key in order
    ]
    row = exp.Window(
        this=exp.RowNumber(),
        partition_by=[key.copy() for key in keys],
        order=exp.Order(expressions=ordered) if ordered else None,
        over="OVER",
    )
    found: Node = Window(node, (Named(number, row),))
    if limit is not None:
        last = exp.Literal.number(limit + offset)
        found = Filter(found, exp.LTE(this=column(number), expression=last))
    if offset:
        found = Filter(found, exp.GT(this=column(number), expression=exp.Literal.number(offset)))
    return found
