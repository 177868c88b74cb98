"""How many rows a join has, from what is believed of its sides."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from flowgrid.expr.tree import Expr
from flowgrid.logical.nodes import JoinKind
from flowgrid.optimizer.selectivity import EQUAL, ColumnEstimate, filtered
from flowgrid.optimizer.traits import column_pair


@dataclass(frozen=True, slots=True)
class Size:
    """Rows, and bytes as uncompressed Arrow."""

    rows: float
    bytes: float


@dataclass(frozen=True)
class Estimate:
    """What is believed of a relation; columns by casefolded name."""

    rows: float
    columns: Mapping[str, ColumnEstimate]

    @cached_property
    def width(self) -> float:
        return sum(column.width for column in self.columns.values())

    @cached_property
    def size(self) -> Size:
        return Size(self.rows, self.rows * self.width)

    def with_rows(self, rows: float) -> Estimate:
        return Estimate(rows, self.columns)


_ANTI_SHARE_MIN = 0.25
"""Left rows without a partner, at least: nobody asks for them where there are none."""


def joined(left: Estimate, right: Estimate, kind: JoinKind, condition: Iterable[Expr]) -> Estimate:
    """A join by the conjuncts of its condition."""
    keys: list[tuple[str, str]] = []
    rest: list[Expr] = []
    for predicate in condition:
        pair = column_pair(predicate)
        if pair is not None and pair[0] in right.columns and pair[1] in left.columns:
            pair = (pair[1], pair[0])
        if pair is not None and pair[0] in left.columns and pair[1] in right.columns:
            keys.append(pair)
        else:
            rest.append(predicate)
    return joined_on(left, right, kind, keys, rest)


def joined_on(
    left: Estimate,
    right: Estimate,
    kind: JoinKind,
    keys: Sequence[tuple[str, str]],
    rest: Sequence[Expr],
) -> Estimate:
    """A join on pairs of (left, right) columns and further predicates."""
    both = {**left.columns, **right.columns}
    others, columns = filtered(rest, both, left.rows * right.rows) if rest else (1.0, both)
    if kind in (JoinKind.SEMI, JoinKind.ANTI):
        kept = _matched_share(left, right, keys) * (1.0 if not rest else max(others, 0.5))
        share = kept if kind is JoinKind.SEMI else max(_ANTI_SHARE_MIN, 1 - kept)
        return left.with_rows(left.rows * share)
    rows = left.rows * right.rows * others
    if keys:
        rows *= _key_share(left, right, keys)
        columns = _with_equal_keys(columns, keys)
    if kind in (JoinKind.LEFT, JoinKind.FULL):
        rows = max(rows, left.rows)
    if kind in (JoinKind.RIGHT, JoinKind.FULL):
        rows = max(rows, right.rows)
    return Estimate(rows, columns if kind in (JoinKind.INNER, JoinKind.CROSS) else both)


def _key_share(left: Estimate, right: Estimate, keys: Sequence[tuple[str, str]]) -> float:
    """The share of all pairs whose keys are equal. Keys between the same two relations are one key of
    several columns; others are independent of each other.
    """
    groups: dict[tuple[int, int], list[tuple[ColumnEstimate, ColumnEstimate]]] = {}
    for a, b in keys:
        one, other = left.columns[a], right.columns[b]
        groups.setdefault((id(one.origin), id(other.origin)), []).append((one, other))
    share = 1.0
    for pairs in groups.values():
        known = all(column.distinct is not None for pair in pairs for column in pair)
        # A computed value beside another key was mostly computed for that key: max(x) for one k.
        share *= _composite_key_share(pairs) if known or len(groups) == 1 else EQUAL
    return share


def _composite_key_share(pairs: Sequence[tuple[ColumnEstimate, ColumnEstimate]]) -> float:
    """Both counts of distinct keys are upper bounds, and one side's keys mostly are among the other's,
    so the smaller count, where the ranges overlap, is the nearer to how many different keys meet.
    """
    overlap = 1.0
    counts = [_key_count([pair[side] for pair in pairs]) for side in (0, 1)]
    for one, other in pairs:
        if None not in (one.minimum, one.maximum, other.minimum, other.maximum):
            ours = one.share(other.minimum, other.maximum)
            theirs = other.share(one.minimum, one.maximum)
            overlap *= ours * theirs
            counts = [counts[0] * ours, counts[1] * theirs]
        overlap *= (1 - one.nulls) * (1 - other.nulls)
    return min(1.0, overlap / max(1.0, min(counts)))


def _key_count(columns: Sequence[ColumnEstimate]) -> float:
    count = 1.0
    for column in columns:
        count *= column.distinct if column.distinct is not None else column.origin_rows
    return max(1.0, min(count, *(column.origin_rows for column in columns)))


def _matched_share(left: Estimate, right: Estimate, keys: Sequence[tuple[str, str]]) -> float:
    """The share of left rows that find a partner."""
    if not keys:
        return 1.0 if right.rows >= 1 else right.rows
    pairs_per_row = right.rows * _key_share(left, right, keys)
    if len(keys) == 1:  # a value is found with the chance that the right side still has it
        ours, theirs = left.columns[keys[0][0]].distinct, right.columns[keys[0][1]].distinct
        if ours is not None and theirs is not None and theirs > ours:
            pairs_per_row *= ours / theirs
    return min(1.0, pairs_per_row)


def _with_equal_keys(
    columns: Mapping[str, ColumnEstimate], keys: Sequence[tuple[str, str]]
) -> dict[str, ColumnEstimate]:
    changed = dict(columns)
    for a, b in keys:
        one, other = changed[a], changed[b]
        changed[a] = one.within(other.minimum, other.maximum)
        changed[b] = other.within(one.minimum, one.maximum)
    return changed
