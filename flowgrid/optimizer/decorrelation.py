"""Dependent joins turned into ordinary ones, by the general method of Neumann and Kemper.

"Unnesting Arbitrary Queries" (BTW 2015): a right side that reads the left row's columns is computed
once for all the distinct values of these columns, the *domain*, and joined back. The domain is pushed
down (`flowgrid.optimizer.domains`) until nothing depends on the left any more.

Most queries need no domain: where the right side only compares the left row's columns with its own,
the comparison can be lifted to the top and become the condition of the join
(`flowgrid.optimizer.lifting`). That is tried first.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

from sqlglot import exp

from flowgrid.expr.tree import Expr, column, columns_of, conjunction, replace_columns
from flowgrid.logical.dependent import (
    DependentJoin,
    DependentKind,
    FreeColumns,
    at_most_one_row,
    one_row,
)
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
    Unnest,
)
from flowgrid.logical.rendering import topological
from flowgrid.optimizer.checks import never, unless
from flowgrid.optimizer.domains import Domain, null_safe
from flowgrid.optimizer.equalities import Left, Pair
from flowgrid.optimizer.lifting import Lifted, lift

_MANY_ROWS = (
    "More than one row returned by a subquery used as an expression - "
    "scalar subqueries can only return a single row."
)


def decorrelate(root: Node) -> Node:
    """The same rows without dependent joins. Raises `CannotPartition` if a node is in the way."""
    new: dict[Node, Node] = {}
    fresh = (f"#d{number}" for number in itertools.count())
    for node in topological(root):
        made = node.with_inputs([new[child] for child in node.inputs])
        new[node] = _Unnesting(made, fresh).result() if isinstance(made, DependentJoin) else made
    return new[root]


class _Unnesting:
    """One dependent join whose inputs have none any more."""

    def __init__(self, join: DependentJoin, fresh: Iterator[str]) -> None:
        self.join, self.fresh = join, fresh
        self.left, self.right = join.left, join.right
        self.ours = Left(join.left)
        self.free = FreeColumns()
        self.outer = frozenset(self.free.of(join.right) & set(join.left.columns))

    def result(self) -> Node:
        match self.join.kind:
            case DependentKind.SEMI | DependentKind.ANTI:
                return self._semi()
            case DependentKind.MARK:
                return self._mark()
            case DependentKind.SINGLE:
                return self._single()
            case DependentKind.INNER | DependentKind.LEFT:
                return self._lateral()

    # -- the right side without the left row's columns ---------------------------------------------

    def _lifted(self, right: Node) -> Lifted:
        """The right side, independent, and the conditions that tell which rows are whose."""
        found = lift(right, self.ours, self.free, self.fresh)
        return found if found is not None else self._over_domain(right)

    def _over_domain(self, right: Node) -> Lifted:
        domain = Domain(self.ours, sorted(self.outer), self.free, self.fresh)
        node, columns = domain.push(right)
        return Lifted(node, [null_safe(name, columns[name]) for name in domain.outer], {}, False)

    # -- kinds -------------------------------------------------------------------------------------

    def _semi(self) -> Node:
        right, condition = self.right, self.join.condition
        kind = JoinKind(self.join.kind)
        if condition is None and one_row(right):
            return self.left if kind is JoinKind.SEMI else Filter(self.left, exp.false())
        right = _as_a_set(right, condition is None)
        lifted = self._lifted(right)
        if lifted.complete and (lifted.deferred or lifted.conditions):
            lifted = self._over_domain(right)
        predicate = conjunction(lifted.conditions + lifted.restored([condition]))
        if predicate is None:
            return self._if_any(lifted.node, kind)
        return Join(self.left, lifted.node, kind, predicate)

    def _if_any(self, right: Node, kind: JoinKind) -> Node:
        """EXISTS of a query that is the same for all rows: a count of at most one row decides."""
        count = next(self.fresh)
        found = Aggregate(Limit(right, 1), (), (Named(count, exp.Count(this=exp.Star())),))
        wanted = exp.Literal.number(1 if kind is JoinKind.SEMI else 0)
        joined = Join(self.left, found, JoinKind.CROSS)
        test = exp.EQ(this=column(count), expression=wanted)
        return _only(Filter(joined, test), self.left.columns)

    def _mark(self) -> Node:
        right, condition, mark = self.right, self.join.condition, self.join.mark
        right = _as_a_set(right, condition is None)
        lifted = self._lifted(right)
        if lifted.complete and (lifted.deferred or lifted.conditions):
            lifted = self._over_domain(right)
        tests = lifted.conditions + lifted.restored([condition])
        if not tests:
            found: Node = Project(Limit(lifted.node, 1), (Named(mark, exp.true()),))
            return Join(self.left, found, JoinKind.LEFT, exp.true())
        # The left values that have a match, each once, so that joining back adds no rows.
        ours = set(self.left.columns)
        read = list(dict.fromkeys(n for test in tests for n in columns_of(test) if n in ours))
        if not read:
            kept = Filter(lifted.node, conjunction(tests) or exp.true())
            found = Project(Limit(kept, 1), (Named(mark, exp.true()),))
            return Join(self.left, found, JoinKind.LEFT, exp.true())
        pairs = [self.ours.pair(test, lifted.node) for test in tests]
        if all(found_pair is not None for found_pair in pairs):
            return self._mark_by_keys([p for p in pairs if p is not None], lifted.node)
        names = {name: next(self.fresh) for name in read}
        values = Distinct(
            Project(self.left, tuple(Named(new, column(old)) for old, new in names.items()))
        )
        renamed = {old.casefold(): column(new) for old, new in names.items()}
        matching = conjunction(replace_columns(test, renamed) for test in tests)
        matched = Join(values, lifted.node, JoinKind.SEMI, matching)
        named = [Named(new, column(new)) for new in names.values()]
        found = Project(matched, (*named, Named(mark, exp.true())))
        back = conjunction(null_safe(old, new) for old, new in names.items())
        return _only(Join(self.left, found, JoinKind.LEFT, back), self.join.columns)

    def _mark_by_keys(self, pairs: Sequence[Pair], right: Node) -> Node:
        keys, tests = self._keyed(pairs)
        matches = Distinct(Project(right, (*keys, Named(self.join.mark, exp.true()))))
        joined = Join(self.left, matches, JoinKind.LEFT, conjunction(tests))
        return _only(joined, self.join.columns)

    def _keyed(self, pairs: Sequence[Pair]) -> tuple[list[Named], list[Expr]]:
        """The right sides of equalities under names of their own, and the equalities with them."""
        keys = [Named(next(self.fresh), inner) for _, inner, _ in pairs]
        tests: list[Expr] = [
            compare(this=outer, expression=column(key.name))
            for key, (outer, _, compare) in zip(keys, pairs, strict=True)
        ]
        return keys, tests

    def _single(self) -> Node:
        right = self.right
        lifted = self._lifted(right)
        if at_most_one_row(right) or (lifted.conditions and lifted.complete):
            return self._joined(lifted, JoinKind.LEFT, None)
        count = next(self.fresh)
        if lifted.conditions:
            lifted = self._one_row_each(lifted, count)
        else:
            lifted = self._one_row_in_all(lifted, count)
        # As in the kernel, several rows that nobody reads are an error if they are the left row's.
        check = never(_several(count), _MANY_ROWS) if self.outer else None
        return self._joined(lifted, JoinKind.LEFT, None, check)

    def _one_row_in_all(self, lifted: Lifted, count: str) -> Lifted:
        values = list(lifted.node.columns)
        firsts = [Named(name, exp.AnyValue(this=column(name))) for name in values]
        counted = Named(count, exp.Count(this=exp.Star()))
        node: Node = Aggregate(lifted.node, (), (*firsts, counted))
        if self.outer:
            deferred = {name: column(name) for name in self.right.columns} | lifted.deferred
            return Lifted(node, [], _checked(deferred, count), False)
        checked = _checked({name: column(name) for name in values}, count)
        node = Project(node, tuple(Named(name, value) for name, value in checked.items()))
        return Lifted(node, [], {}, True)

    def _one_row_each(self, lifted: Lifted, count: str) -> Lifted:
        """At most one right row for each left one, and an error where there were more."""
        node, pairs = lifted.node, []
        for test in lifted.conditions:
            found = self.ours.pair(test, node)
            if found is None:
                return self._one_row_each(self._over_domain(self.right), count)
            pairs.append(found)
        keys, tests = self._keyed(pairs)
        values = tuple(Named(name, exp.AnyValue(this=column(name))) for name in node.columns)
        counted = Named(count, exp.Count(this=exp.Star()))
        deferred = {name: column(name) for name in self.right.columns} | lifted.deferred
        grouped = Aggregate(node, tuple(keys), (*values, counted))
        return Lifted(grouped, tests, _checked(deferred, count), False)

    def _lateral(self) -> Node:
        items = _items_of_one_row(self.right)
        if items is not None and self.join.condition is None:
            passed = (Named(name, column(name)) for name in self.left.columns)
            rows = Project(self.left, (*passed, items))
            return Unnest(rows, items.name, keep_empty=self.join.kind is DependentKind.LEFT)
        lifted = self._lifted(self.right)
        inner = self.join.kind is DependentKind.INNER
        condition = self.join.condition
        if lifted.complete and lifted.conditions:
            if inner:
                node = self._joined(lifted, JoinKind.LEFT, None)
                return Filter(node, condition) if condition is not None else node
            if condition is not None:
                lifted = self._over_domain(self.right)
        return self._joined(lifted, JoinKind.INNER if inner else JoinKind.LEFT, condition)

    # -- putting it together -----------------------------------------------------------------------

    def _joined(
        self, lifted: Lifted, kind: JoinKind, condition: Expr | None, check: Expr | None = None
    ) -> Node:
        """The left rows with theirs of the right; what was deferred is computed on top."""
        node, deferred = lifted.node, lifted.deferred
        test = conjunction(lifted.conditions + lifted.restored([condition]))
        if test is None and one_row(node) and node.inputs == ():
            joined = self.left
        elif test is None and (kind is JoinKind.INNER or one_row(node)):
            joined = Join(self.left, node, JoinKind.CROSS)
        else:
            if deferred and kind is JoinKind.LEFT and not lifted.complete:
                marker = next(self.fresh)
                node = Project(
                    node, (*(Named(n, column(n)) for n in node.columns), Named(marker, exp.true()))
                )
                deferred = {name: _if_matched(value, marker) for name, value in deferred.items()}
            joined = Join(self.left, node, kind, test if test is not None else exp.true())
        joined = joined if check is None else Filter(joined, check)
        return _only(joined, self.join.columns, deferred)


def _several(count: str) -> Expr:
    return exp.GT(this=column(count), expression=exp.Literal.number(1))


def _checked(values: dict[str, Expr], count: str) -> dict[str, Expr]:
    return {name: unless(_several(count), _MANY_ROWS, value) for name, value in values.items()}


def _items_of_one_row(right: Node) -> Named | None:
    """The list of FROM unnest(list)."""
    if isinstance(right, Unnest) and isinstance(right.input, Project) and one_row(right.input):
        return right.input.expressions[0]
    return None


def _if_matched(value: Expr, marker: str) -> Expr:
    """NULL instead of a value computed for a row that the join made up."""
    matched = exp.Not(this=exp.Is(this=column(marker), expression=exp.null()))
    return exp.Case(ifs=[exp.If(this=matched, true=value)])


def _only(node: Node, columns: Sequence[str], deferred: dict[str, Expr] | None = None) -> Node:
    """The node with just these columns; `deferred` ones are computed."""
    deferred = deferred or {}
    if tuple(columns) == node.columns and not deferred:
        return node
    return Project(node, tuple(Named(name, deferred.get(name, column(name))) for name in columns))


def _as_a_set(right: Node, only_existence: bool) -> Node:
    """The right side without what neither order, repetition nor, for EXISTS, values can change."""
    while True:
        match right:
            case Sort() if right.limit is None and not right.offset:
                right = right.input
            case Distinct() if right.on is None or only_existence:
                right = right.input
            case Project() if only_existence:
                right = right.input
            case Sort() | Limit() if only_existence and not right.offset and right.limit:
                right = right.input
            case Aggregate() if only_existence and right.keys and right.sets is None:
                right = right.input
            case _:
                return right
