"""What `DataFrame.group_by` returns until it is aggregated."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import Generic, TypeVar

from flowgrid.api import functions
from flowgrid.api.column import Column, IntoColumn
from flowgrid.api.selections import Selected, aggregate, named_expressions
from flowgrid.errors import PlanError
from flowgrid.expr.aggregates import has_aggregate
from flowgrid.expr.names import column_named
from flowgrid.expr.tree import to_sql
from flowgrid.logical.nodes import Named, Node

Frame = TypeVar("Frame")


class GroupedDataFrame(Generic[Frame]):
    """Rows by key. `agg` makes one row of each group; the other methods do so for whole columns."""

    def __init__(
        self,
        node: Node,
        keys: Sequence[Named],
        frame_of: Callable[[Node], Frame],
        sets: tuple[tuple[int, ...], ...] | None = None,
    ) -> None:
        for key in keys:
            if has_aggregate(key.expression):
                raise PlanError(f"{to_sql(key.expression)} in group_by is an aggregate, not a key")
        self._node = node
        self._keys = tuple(keys)
        self._frame_of = frame_of
        self._sets = sets

    def rollup(self) -> GroupedDataFrame[Frame]:
        """Groups by all keys, by all but the last one, … and by none, in one frame.

        Keys that a row is not grouped by are NULL there; ``agg("grouping(k) AS g")`` tells.
        """
        count = len(self._keys)
        return self._by(tuple(range(some)) for some in range(count, -1, -1))

    def cube(self) -> GroupedDataFrame[Frame]:
        """Groups by every choice of the keys, in one frame, as `rollup` says."""
        count = len(self._keys)
        sizes = range(count, -1, -1)
        return self._by(chosen for size in sizes for chosen in combinations(range(count), size))

    def grouping_sets(self, *sets: Sequence[str]) -> GroupedDataFrame[Frame]:
        """Groups by these choices of the keys: ``grouping_sets(["a", "b"], ["c"], [])``."""
        names = [key.name for key in self._keys]
        found = [[column_named(name, names, "grouping_sets") for name in one] for one in sets]
        for name in names:
            if not any(name in one for one in found):
                raise PlanError(f"the key {name!r} of group_by is in none of the grouping_sets")
        return self._by(tuple(names.index(name) for name in one) for one in found)

    def _by(self, sets: Iterable[tuple[int, ...]]) -> GroupedDataFrame[Frame]:
        return GroupedDataFrame(self._node, self._keys, self._frame_of, tuple(sets))

    def agg(self, *aggregates: Selected, **named: IntoColumn) -> Frame:
        """One row per group: the keys, then these aggregates (``"sum(x) / count(*)"`` too)."""
        wanted = named_expressions(self._node, aggregates, named, "agg")
        return self._frame_of(aggregate(self._node, self._keys, wanted, self._sets))

    def count(self) -> Frame:
        """The number of rows of each group, as ``count``."""
        return self.agg(functions.count())

    def sum(self, *columns: str) -> Frame:
        return self._each(Column.sum, columns)

    def mean(self, *columns: str) -> Frame:
        return self._each(Column.mean, columns)

    def min(self, *columns: str) -> Frame:
        return self._each(Column.min, columns)

    def max(self, *columns: str) -> Frame:
        return self._each(Column.max, columns)

    def median(self, *columns: str) -> Frame:
        return self._each(Column.median, columns)

    def first(self, *columns: str) -> Frame:
        return self._each(Column.first, columns)

    def last(self, *columns: str) -> Frame:
        return self._each(Column.last, columns)

    def n_unique(self, *columns: str) -> Frame:
        return self._each(Column.n_unique, columns)

    def _each(self, function: Callable[[Column], Column], columns: Sequence[str]) -> Frame:
        """`function` of the given columns, or of every one that is no key."""
        keys = {key.name.casefold() for key in self._keys}
        names = columns or [name for name in self._node.columns if name.casefold() not in keys]
        return self.agg([function(functions.col(name)) for name in names])
