"""The cheapest order of the joins of a graph: all connected orders of a few, a greedy one of many.

The enumeration is DPccp (Moerkotte and Neumann, 2006): every pair of connected, disjoint and adjacent
sets once. The cost of a join is what it moves and what it makes, in bytes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from flowgrid.expr.tree import Expr
from flowgrid.logical.nodes import JoinKind
from flowgrid.optimizer.join_estimates import Estimate, joined, joined_on
from flowgrid.optimizer.join_graph import Appended, JoinGraph, bits, components
from flowgrid.optimizer.selectivity import filtered
from flowgrid.optimizer.traits import column_pair

EXHAUSTIVE_RELATIONS_MAX = 10
"""A star of ten relations has 2,304 pairs of sets to look at, some 30 ms; one more doubles that."""

_PAIR_BYTES = 1.0
"""Cost of comparing one pair of rows where no key tells which rows can meet."""


@dataclass(slots=True)
class Ordered:
    """A set of relations and the best way to join them: on equal `keys` and the `rest` of the
    condition, with the predicates `after` asked of the joined rows.
    """

    mask: int
    estimate: Estimate
    cost: float
    kind: JoinKind = JoinKind.INNER
    left: Ordered | None = None
    right: Ordered | None = None
    keys: tuple[tuple[str, str], ...] = ()
    rest: tuple[Expr, ...] = ()
    after: tuple[Expr, ...] = ()


class Enumeration:
    """The search for one graph. `estimates` are of its relations, in order."""

    def __init__(
        self, graph: JoinGraph, estimates: list[Estimate], broadcast_bytes_max: float
    ) -> None:
        self._graph = graph
        self._broadcast_bytes_max = broadcast_bytes_max
        self._best = {
            1 << index: Ordered(1 << index, found, 0.0) for index, found in enumerate(estimates)
        }
        self._estimates: dict[int, Estimate] = {}
        self._appended_masks = {1 << index: one for index, one in graph.appended.items()}

    def best(self) -> Ordered:
        """The cheapest order found."""
        self._link_components()
        count = len(self._graph.relations)
        whole = (1 << count) - 1
        if count <= EXHAUSTIVE_RELATIONS_MAX:
            pairs = sorted(_pairs(self._graph), key=lambda pair: (pair[0] | pair[1]).bit_count())
            for one, other in pairs:
                self._consider(one, other)
            if whole in self._best:
                return self._best[whole]
        return self._greedy(count)

    def _link_components(self) -> None:
        """Lets the smallest relations of unconnected parts meet: a cross join, where there must be."""
        parts = components(self._graph)
        if len(parts) == 1:
            return
        smallest = [
            min(
                (index for index in bits(part) if index not in self._graph.appended),
                key=lambda index: self._best[1 << index].estimate.size.bytes,
            )
            for part in parts
        ]
        mask = sum(1 << index for index in smallest)
        for index in smallest:
            self._graph.neighbours[index] |= mask & ~(1 << index)

    def _consider(self, one: int, other: int) -> None:
        first, second = self._best.get(one), self._best.get(other)
        if first is None or second is None:
            return
        found = self._joined(first, second)
        if found is not None:
            known = self._best.get(found.mask)
            if known is None or found.cost < known.cost:
                self._best[found.mask] = found

    def _joined(self, one: Ordered, other: Ordered) -> Ordered | None:
        """Both joined, the smaller on the right; None if an appended relation may not join yet."""
        if one.mask in self._appended_masks:
            one, other = other, one
        appended = self._appended_masks.get(other.mask)
        if one.mask in self._appended_masks or (appended and appended.needs & ~one.mask):
            return None
        mask = one.mask | other.mask
        if appended is None and one.estimate.size.bytes < other.estimate.size.bytes:
            one, other = other, one
        asked = [
            predicate
            for read, predicate in self._graph.predicates
            if not read & ~mask and read & ~one.mask and (appended or read & ~other.mask)
        ]
        if appended is not None:
            return self._append(one, other, appended, asked)
        keys = tuple(self._keys(one.mask, other.mask))
        kind = JoinKind.INNER if keys or asked else JoinKind.CROSS
        found = self._estimates.get(mask)
        if found is None:
            found = joined_on(one.estimate, other.estimate, kind, keys, asked)
            self._estimates[mask] = found
        cost = one.cost + other.cost + self._cost(one, other, found, bool(keys), may_swap=True)
        return Ordered(mask, found, cost, kind, one, other, keys, tuple(asked))

    def _append(
        self, one: Ordered, other: Ordered, appended: Appended, after: list[Expr]
    ) -> Ordered:
        mask = one.mask | other.mask
        found = self._estimates.get(mask)
        if found is None:
            found = joined(one.estimate, other.estimate, appended.kind, appended.condition)
            if after:
                share, columns = filtered(after, found.columns, found.rows)
                found = Estimate(found.rows * share, columns)
            self._estimates[mask] = found
        keyed = any(column_pair(part) is not None for part in appended.condition)
        cost = one.cost + other.cost + self._cost(one, other, found, keyed, may_swap=False)
        return Ordered(
            mask, found, cost, appended.kind, one, other,
            rest=appended.condition, after=tuple(after),
        )  # fmt: skip

    def _keys(self, left: int, right: int) -> Iterator[tuple[str, str]]:
        """One equality of each class that has columns on both sides: within a side they are equal."""
        for members in self._graph.classes:
            ours = next((name for relation, name in members if 1 << relation & left), None)
            theirs = next((name for relation, name in members if 1 << relation & right), None)
            if ours is not None and theirs is not None:
                yield ours, theirs

    def _cost(
        self, left: Ordered, right: Ordered, result: Estimate, keyed: bool, may_swap: bool
    ) -> float:
        ours, theirs = left.estimate.size, right.estimate.size
        small = min(ours.bytes, theirs.bytes) if may_swap else theirs.bytes
        if not keyed:
            return result.size.bytes + small + ours.rows * theirs.rows * _PAIR_BYTES
        moved = small if small <= self._broadcast_bytes_max else ours.bytes + theirs.bytes
        return result.size.bytes + moved

    def _greedy(self, count: int) -> Ordered:
        """Again and again the two sets whose join is cheapest; any pair where none is connected."""
        sets = [self._best[1 << index] for index in range(count)]
        while len(sets) > 1:
            pairs = [
                (i, j)
                for i, one in enumerate(sets)
                for j, other in enumerate(sets[:i])
                if self._graph.neighbourhood(one.mask) & other.mask
            ]
            options = [self._option(sets, pair) for pair in pairs]
            if not any(options):
                every = ((i, j) for i in range(len(sets)) for j in range(i))
                options = [self._option(sets, pair) for pair in every]
            possible = [option for option in options if option is not None]
            _, i, j, found = min(possible, key=lambda option: option[0])
            sets = [one for k, one in enumerate(sets) if k not in (i, j)] + [found]
        return sets[0]

    def _option(
        self, sets: list[Ordered], pair: tuple[int, int]
    ) -> tuple[float, int, int, Ordered] | None:
        one, other = sets[pair[0]], sets[pair[1]]
        found = self._joined(one, other)
        return None if found is None else (found.cost - one.cost - other.cost, *pair, found)


def _pairs(graph: JoinGraph) -> Iterator[tuple[int, int]]:
    """All pairs of connected, disjoint sets with an edge between them, each once."""
    for index in reversed(range(len(graph.relations))):
        start = 1 << index
        yield from _pairs_of(graph, start)
        for grown in _grown(graph, start, (start << 1) - 1):
            yield from _pairs_of(graph, grown)


def _grown(graph: JoinGraph, mask: int, excluded: int) -> Iterator[int]:
    """All connected sets that contain `mask` and nothing excluded."""
    around = graph.neighbourhood(mask) & ~excluded
    for subset in _subsets(around):
        yield mask | subset
    for subset in _subsets(around):
        yield from _grown(graph, mask | subset, excluded | around)


def _pairs_of(graph: JoinGraph, mask: int) -> Iterator[tuple[int, int]]:
    lowest = mask & -mask
    excluded = ((lowest << 1) - 1) | mask
    around = graph.neighbourhood(mask) & ~excluded
    for index in sorted(bits(around), reverse=True):
        start = 1 << index
        yield mask, start
        for grown in _grown(graph, start, excluded | (((start << 1) - 1) & around)):
            yield mask, grown


def _subsets(mask: int) -> Iterator[int]:
    """All subsets but the empty one."""
    subset = -mask & mask
    while subset:
        yield subset
        subset = (subset - mask) & mask
