"""Which share of the rows a predicate keeps, as far as minima, maxima and distinct counts tell.

Values are compared as floats: numbers as they are, dates and timestamps as days since 1970. What is not
known is guessed low rather than high for equality, and in thirds for ranges, as planners always did.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sqlglot import exp

from flowgrid.expr.tree import Expr
from flowgrid.optimizer.boolean_algebra import disjuncts, is_false, is_true
from flowgrid.optimizer.checks import is_check
from flowgrid.optimizer.traits import is_literal, plain_column

EQUAL, RANGE, LIKE, PREFIX, UNKNOWN = 0.05, 1 / 3, 0.1, 0.05, 0.25
"""The share of rows kept by ``= 'x'``, ``< x``, ``LIKE '%x%'``, ``LIKE 'x%'`` and anything else,
where nothing is known about the column."""

_EPOCH = datetime.date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class ColumnEstimate:
    """What is believed of a column. `distinct` is an upper bound for the values that the column could
    have, whatever filters on other columns left; None if nobody knows. `origin` is the
    relation it comes from, and `origin_rows` how many rows that has before any filter.
    """

    type: str | None
    width: float
    origin: object
    origin_rows: float
    distinct: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    nulls: float = 0.0

    def within(self, low: float | None, high: float | None) -> ColumnEstimate:
        """The column where only values of low..high are left."""
        if self.minimum is None or self.maximum is None:
            return self
        minimum = self.minimum if low is None else max(low, self.minimum)
        maximum = self.maximum if high is None else min(high, self.maximum)
        share = self.share(low, high)
        distinct = None if self.distinct is None else max(1.0, self.distinct * share)
        return dataclasses.replace(
            self, minimum=minimum, maximum=max(minimum, maximum), distinct=distinct, nulls=0.0
        )

    def share(self, low: float | None, high: float | None) -> float:
        """The share of the column's values in low..high, supposing that they lie evenly."""
        if self.minimum is None or self.maximum is None:
            return RANGE if low is None or high is None else RANGE * RANGE
        start = self.minimum if low is None else max(low, self.minimum)
        end = self.maximum if high is None else min(high, self.maximum)
        if end < start:
            return 0.0
        width = self.maximum - self.minimum
        # A range around one value holds that value at least.
        return min(1.0, max((end - start) / width if width else 1.0, 1 / (self.distinct or 1e9)))


def as_number(value: object) -> float | None:
    """The value on the axis of its type; None for text and what else has no distances."""
    match value:
        case bool():
            return float(value)
        case int() | float() | decimal.Decimal():
            number = float(value)
            return number if number == number else None
        case datetime.datetime():
            if value.tzinfo is not None:
                value = value.astimezone(datetime.UTC).replace(tzinfo=None)
            return (value - datetime.datetime(1970, 1, 1)) / datetime.timedelta(days=1)
        case datetime.date():
            return float((value - _EPOCH).days)
    return None


def constant(expression: Expr) -> float | None:
    """A literal on the axis of its type."""
    inner = expression.unnest()
    if isinstance(inner, exp.Neg):
        number = constant(inner.this)
        return None if number is None else -number
    if isinstance(inner, exp.Cast):
        text = inner.this
        if isinstance(text, exp.Literal) and text.is_string:
            return _parsed(str(text.this))
        return constant(text)
    if isinstance(inner, exp.Literal) and not inner.is_string:
        return _parsed(str(inner.this))
    return None


def _parsed(text: str) -> float | None:
    try:
        return as_number(float(text))
    except ValueError:
        pass
    try:
        return as_number(datetime.datetime.fromisoformat(text))
    except ValueError:
        return None


Columns = Mapping[str, ColumnEstimate]


def filtered(
    predicates: Iterable[Expr], columns: Columns, rows: float
) -> tuple[float, dict[str, ColumnEstimate]]:
    """The share of rows that pass all predicates, and the columns as they are then."""
    share = 1.0
    bounds: dict[str, tuple[float | None, float | None]] = {}
    left: dict[str, ColumnEstimate] = {}
    for predicate in predicates:
        found = _range(predicate)
        if found is None or found[0] not in columns:
            share *= selectivity(predicate, columns, rows)
            equal = _equal_column(predicate, columns)
            if equal is not None:
                name, count = equal
                left[name] = dataclasses.replace(columns[name], distinct=count, nulls=0.0)
            continue
        name, low, high = found
        old_low, old_high = bounds.get(name, (None, None))
        bounds[name] = (_tighter(old_low, low, max), _tighter(old_high, high, min))
    for name, (low, high) in bounds.items():
        share *= columns[name].share(low, high) * (1 - columns[name].nulls)
        left[name] = left.get(name, columns[name]).within(low, high)
    return share, {**columns, **left}


def _tighter(old: float | None, new: float | None, choose: object) -> float | None:
    if old is None or new is None:
        return new if old is None else old
    return max(old, new) if choose is max else min(old, new)


def _equal_column(predicate: Expr, columns: Columns) -> tuple[str, float] | None:
    if isinstance(predicate, exp.EQ):
        for this in (predicate.this, predicate.expression):
            name = plain_column(this) or ""
            if name in columns and not isinstance(predicate.expression, exp.Column):
                return name, 1.0
    if isinstance(predicate, exp.In) and predicate.expressions:
        name = plain_column(predicate.this) or ""
        if name in columns:
            return name, float(len(predicate.expressions))
    return None


_MIRRORED: dict[type[Expr], type[Expr]] = {
    exp.LT: exp.GT, exp.LTE: exp.GTE, exp.GT: exp.LT, exp.GTE: exp.LTE,
}  # fmt: skip


def _range(predicate: Expr) -> tuple[str, float | None, float | None] | None:
    """Column, lower and upper bound of a comparison with a constant."""
    kind = type(predicate)
    if isinstance(predicate, exp.Between):
        name = plain_column(predicate.this)
        low, high = constant(predicate.args["low"]), constant(predicate.args["high"])
        return None if name is None or low is None or high is None else (name, low, high)
    if kind not in _MIRRORED:
        return None
    name, value = plain_column(predicate.this), constant(predicate.expression)
    if name is None:
        name, value = plain_column(predicate.expression), constant(predicate.this)
        kind = _MIRRORED[kind]
    if name is None or value is None:
        return None
    return (name, None, value) if kind in (exp.LT, exp.LTE) else (name, value, None)


def selectivity(predicate: Expr, columns: Columns, rows: float) -> float:
    """The share of rows for which the predicate is true."""
    inner = predicate.unnest()
    if isinstance(inner, exp.And):
        share, _ = filtered((inner.left, inner.right), columns, rows)
        return share
    if isinstance(inner, exp.Or):
        missed = 1.0
        for branch in disjuncts(inner):
            missed *= 1 - selectivity(branch, columns, rows)
        return 1 - missed
    if isinstance(inner, exp.Not):
        return 1 - selectivity(inner.this, columns, rows)
    if is_true(inner) or is_check(inner):
        return 1.0
    if is_false(inner):
        return 0.0
    if isinstance(inner, exp.Is):
        return _of_is(inner, columns)
    if isinstance(inner, exp.In):
        one = _equal(inner.this, columns, rows)
        return min(1.0, one * len(inner.expressions)) if inner.expressions else UNKNOWN
    if isinstance(inner, exp.Like | exp.ILike):
        pattern = inner.expression
        share = PREFIX if isinstance(pattern, exp.Literal) and pattern.name[:1] != "%" else LIKE
        return 1 - share if inner.args.get("negate") else share
    found = _range(inner)
    if found is not None and found[0] in columns:
        return columns[found[0]].share(found[1], found[2])
    return _of_comparison(inner, columns, rows)


def _of_is(inner: exp.Is, columns: Columns) -> float:
    name = plain_column(inner.this) or ""
    if isinstance(inner.expression, exp.Null) and name in columns:
        return columns[name].nulls
    return UNKNOWN


def _of_comparison(inner: Expr, columns: Columns, rows: float) -> float:
    if isinstance(inner, exp.EQ | exp.NullSafeEQ):
        share = _equal_sides(inner, columns, rows)
        value = constant(inner.expression)
        known = columns.get(plain_column(inner.this) or "")
        if value is not None and known is not None and known.share(value, value) == 0:
            return 0.0
        return share
    if isinstance(inner, exp.NEQ | exp.NullSafeNEQ):
        return 1 - _equal_sides(inner, columns, rows)
    if type(inner) in _MIRRORED or isinstance(inner, exp.Between):
        return RANGE
    return UNKNOWN


def _equal_sides(inner: Expr, columns: Columns, rows: float) -> float:
    """The share of rows in which both sides are equal: a constant is one value, and says no more."""
    sides = [side for side in (inner.this, inner.expression) if not is_literal(side)]
    return min((_equal(side, columns, rows) for side in sides), default=UNKNOWN)


def _equal(side: Expr, columns: Columns, rows: float) -> float:
    """The share of rows in which this side has one given value."""
    name = plain_column(side)
    known = columns.get(name) if name is not None else None
    if known is not None and known.distinct is not None:
        return min(1.0, 1 / max(1.0, known.distinct))
    if known is not None and known.origin_rows <= 1:  # a row of totals has one value of each
        return 1.0
    return max(EQUAL, min(1.0, 1 / max(1.0, rows)))
