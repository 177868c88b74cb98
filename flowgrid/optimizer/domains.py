"""The domain of a dependent join pushed down into its right side, until nothing depends on the left.

The domain is the relation of the distinct values of the left columns that the right side reads. What
comes back has the right side's rows for every value of the domain, next to that value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from sqlglot import exp

from flowgrid.expr.tree import (
    Expr,
    column,
    columns_of,
    conjunction,
    conjuncts,
    replace_columns,
)
from flowgrid.logical.dependent import CannotPartition, FreeColumns
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
    SetOperation,
    Sort,
    Union,
    Unnest,
    Window,
)
from flowgrid.optimizer.equalities import Left
from flowgrid.optimizer.lifting import first_rows, partitioned, values_of_empty_groups

Places: TypeAlias = dict[str, str]
"""From an outer column to the column of a relation that holds its value."""


def null_safe(left: str, right: str) -> Expr:
    return exp.NullSafeEQ(this=column(left), expression=column(right))


class Domain:
    """The values of the `outer` columns of `left`, and the way down for them."""

    def __init__(
        self, left: Left, outer: Sequence[str], free: FreeColumns, fresh: Iterator[str]
    ) -> None:
        self.outer, self._free, self._fresh = tuple(outer), free, fresh
        self._left = left
        named = tuple(Named(name, column(name)) for name in outer)
        self._values = Distinct(Project(left.node, named))
        self._pushed: dict[Node, tuple[Node, Places]] = {}

    def push(self, node: Node) -> tuple[Node, Places]:
        """The node's rows for each value of the domain, and where in them that value is."""
        known = self._pushed.get(node)
        if known is None:
            known = self._pushed[node] = self._push(node)
        return known

    def _depends(self, node: Node) -> bool:
        return not self._free.of(node).isdisjoint(self.outer)

    def _copy(self) -> tuple[Node, Places]:
        """The domain under names of its own."""
        places = {name: next(self._fresh) for name in self.outer}
        named = tuple(Named(new, column(old)) for old, new in places.items())
        return Project(self._values, named), places

    def _push(self, node: Node) -> tuple[Node, Places]:
        if not self._depends(node):
            values, places = self._copy()
            return Join(node, values, JoinKind.CROSS), places
        match node:
            case Join():
                return self._join(node)
            case Union():
                return self._union(node)
            case SetOperation():
                left, places = self._aligned(node.left)
                right, _ = self._aligned(node.right)
                return SetOperation(left, right, node.operator, node.all), places
            case Filter():
                return self._filter(node)
            case Aggregate():
                return self._aggregate(node)
            case Project() | Window() | Sort() | Limit() | Distinct() | Unnest():
                return self._one_input(node)
            case _:
                raise CannotPartition(f"a correlated subquery with {type(node).__name__}")

    def _filter(self, node: Filter) -> tuple[Node, Places]:
        if not self._depends(node.input):
            found = self._from_equalities(node)
            if found is not None:
                return found
        below, places = self.push(node.input)
        return Filter(below, _read(node.predicate, places)), places

    def _from_equalities(self, node: Filter) -> tuple[Node, Places] | None:
        """Columns that equal those of the domain take their place: no join with it is needed."""
        places: Places = {}
        for test in conjuncts(node.predicate):
            found = self._left.pair(test, node.input)
            if found is None or not isinstance(test, exp.EQ):
                continue
            ours, inner, _ = found
            if isinstance(ours, exp.Column) and isinstance(inner, exp.Column):
                places.setdefault(ours.name, inner.name)
        if len(places) < len(self.outer):
            return None
        return Filter(node.input, _read(node.predicate, places)), places

    def _one_input(
        self, node: Project | Window | Sort | Limit | Distinct | Unnest
    ) -> tuple[Node, Places]:
        below, places = self.push(node.input)
        keys = [column(name) for name in places.values()]
        match node:
            case Project():
                names = {named.name for named in node.expressions}
                named = [Named(n.name, _read(n.expression, places)) for n in node.expressions]
                kept = dict.fromkeys(place for place in places.values() if place not in names)
                passed = [Named(place, column(place)) for place in kept]
                return Project(below, (*named, *passed)), places
            case Window():
                windows = tuple(
                    Named(n.name, _read(n.expression, places)) for n in node.expressions
                )
                return Window(below, partitioned(windows, keys)), places
            case Sort() if node.limit is None and not node.offset:
                return below, places
            case Sort() | Limit():
                order = [
                    type(key)(_read(key.expression, places), key.descending, key.nulls_first)
                    for key in (node.keys if isinstance(node, Sort) else ())
                ]
                number = next(self._fresh)
                return first_rows(below, keys, order, node.limit, node.offset, number), places
            case Distinct():
                if node.on is None:
                    return Distinct(below), places
                order = [
                    type(key)(_read(key.expression, places), key.descending, key.nulls_first)
                    for key in node.order
                ]
                return Distinct(below, (*node.on, *places.values()), tuple(order)), places
            case Unnest():
                return Unnest(below, node.column, node.keep_empty), places

    def _aggregate(self, node: Aggregate) -> tuple[Node, Places]:
        below, places = self.push(node.input)
        own = {key.name for key in node.keys + node.aggregates}
        above = {name: next(self._fresh) for name in self.outer}
        keys = [Named(key.name, _read(key.expression, places)) for key in node.keys]
        keys += [Named(above[name], column(places[name])) for name in self.outer]
        values = tuple(Named(n.name, _read(n.expression, places)) for n in node.aggregates)
        if node.sets is not None:
            if any(not chosen for chosen in node.sets):
                raise CannotPartition("a correlated subquery with a grand total")
            ours = tuple(range(len(node.keys), len(keys)))
            sets = tuple((*chosen, *ours) for chosen in node.sets)
            return Aggregate(below, tuple(keys), values, sets), above
        grouped = Aggregate(below, tuple(keys), values)
        if node.keys:
            return grouped, above
        # Without keys there is a row even where there is nothing to aggregate.
        domain, whole = self._copy()
        test = conjunction(null_safe(whole[name], above[name]) for name in self.outer)
        joined = Join(domain, grouped, JoinKind.LEFT, test)
        empty = values_of_empty_groups(node)
        named = [Named(name, empty.get(name, column(name))) for name in node.columns if name in own]
        passed = [Named(place, column(place)) for place in whole.values()]
        return Project(joined, (*named, *passed)), whole

    def _join(self, node: Join) -> tuple[Node, Places]:
        left_depends, right_depends = self._depends(node.left), self._depends(node.right)
        inner = node.kind in (JoinKind.INNER, JoinKind.CROSS)
        if inner and not right_depends:
            left, places = self.push(node.left)
            return _joined(node, left, node.right, places, None), places
        if inner and not left_depends:
            right, places = self.push(node.right)
            return _joined(node, node.left, right, places, None), places
        if node.kind in (JoinKind.LEFT, JoinKind.SEMI, JoinKind.ANTI) and not right_depends:
            left, places = self.push(node.left)
            return _joined(node, left, node.right, places, None), places
        if node.kind is JoinKind.RIGHT and not left_depends:
            right, places = self.push(node.right)
            return _joined(node, node.left, right, places, None), places
        left, left_places = self.push(node.left)
        right, right_places = self._aligned(node.right)  # both may be uses of one subplan
        same = conjunction(null_safe(left_places[name], right_places[name]) for name in self.outer)
        places = right_places if node.kind is JoinKind.RIGHT else left_places
        joined = _joined(node, left, right, places, same)
        if node.kind is not JoinKind.FULL:
            return joined, places
        whole = {name: next(self._fresh) for name in self.outer}
        either = [
            Named(
                whole[name],
                exp.Coalesce(
                    this=column(left_places[name]), expressions=[column(right_places[name])]
                ),
            )
            for name in self.outer
        ]
        passed = [Named(name, column(name)) for name in node.columns]
        return Project(joined, (*passed, *either)), whole

    def _union(self, node: Union) -> tuple[Node, Places]:
        sides = [self._aligned(relation) for relation in node.relations]
        return Union(tuple(side for side, _ in sides)), sides[0][1]

    def _aligned(self, node: Node) -> tuple[Node, Places]:
        """As `push`, with the domain's columns behind the node's own, in the order of `outer`."""
        below, places = self.push(node)
        own = {name: next(self._fresh) for name in self.outer}
        passed = [Named(name, column(name)) for name in node.columns]
        moved = [Named(own[name], column(places[name])) for name in self.outer]
        return Project(below, (*passed, *moved)), own


def _joined(node: Join, left: Node, right: Node, places: Places, same: Expr | None) -> Node:
    own = _read(node.condition, places) if node.condition is not None else None
    condition = conjunction(part for part in (same, own) if part is not None)
    kind = node.kind
    if condition is not None and kind is JoinKind.CROSS:
        kind = JoinKind.INNER
    return Join(left, right, kind, condition)


def _read(expression: Expr, places: Mapping[str, str]) -> Expr:
    """The expression with outer columns read from where their values are."""
    if not any(name in places for name in columns_of(expression)):
        return expression
    return replace_columns(
        expression, {name.casefold(): column(place) for name, place in places.items()}
    )
