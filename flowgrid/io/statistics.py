"""What Parquet footers say about the values of a column, and which row groups a predicate rules out.

A row group is dropped only if its footer proves that no row can satisfy the predicate in the kernel's
own arithmetic. Whatever is not understood keeps the row group: NaN, which the kernel sorts above every
number and footers leave out; 32-bit floats, which the kernel compares rounded; zoned and
nanosecond times.
"""

from __future__ import annotations

import datetime
import decimal
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from flowgrid.expr.tree import Expr

if TYPE_CHECKING:
    import pyarrow.parquet as pq


@dataclass(frozen=True)
class ColumnStatistics:
    """Bounds of a column's values, if known; text bounds may be truncated outwards.

    `null_count` and `distinct` are None where the footers do not say. `distinct` is a guess where it
    comes from the size of a dictionary.
    """

    minimum: object = None
    maximum: object = None
    null_count: int | None = None
    distinct: int | None = None


UNKNOWN = ColumnStatistics()


def chunk_statistics(row_group: pq.RowGroupMetaData, index: int) -> ColumnStatistics:
    """The statistics of one column of one row group."""
    statistics = row_group.column(index).statistics
    distinct = _dictionary_values(row_group, index)
    if statistics is None:
        return ColumnStatistics(distinct=distinct)
    nulls = statistics.null_count if statistics.has_null_count else None
    if statistics.has_distinct_count:
        distinct = statistics.distinct_count
    if not statistics.has_min_max:
        return ColumnStatistics(None, None, nulls, distinct)
    try:
        return ColumnStatistics(statistics.min, statistics.max, nulls, distinct)
    except (OverflowError, ValueError):  # a day or time that Python has no value for: infinity
        return ColumnStatistics(distinct=distinct)


def _dictionary_values(row_group: pq.RowGroupMetaData, index: int) -> int | None:
    """How many values the chunk's dictionary has, if it is a small one: so many bits a row's number
    takes. None for chunks without one, and for those that gave theirs up for plain values."""
    chunk = row_group.column(index)
    if not chunk.has_dictionary_page or not row_group.num_rows:
        return None
    dictionary_bytes = max(0, chunk.data_page_offset - (chunk.dictionary_page_offset or 0))
    bits = 8 * (chunk.total_uncompressed_size - dictionary_bytes) / row_group.num_rows
    if bits > _DICTIONARY_BITS_MAX:
        return _numbers_in_dictionary(chunk, row_group.num_rows)
    # Long runs take no bits, but their values still stand in the dictionary.
    values = max(2**bits, dictionary_bytes / _DICTIONARY_ENTRY_BYTES)
    return int(min(math.ceil(values), row_group.num_rows))


def _numbers_in_dictionary(chunk: pq.ColumnChunkMetaData, rows: int) -> int | None:
    """How many numbers a large dictionary has: a chunk is the dictionary, uncompressed, and so many
    bits for each row. None for text, and where that would be half of the rows or more: the dictionary
    may have been given up.
    """
    width = _NUMBER_BYTES.get(chunk.physical_type)
    if width is None:
        return None
    low, high = 1, rows // 2
    while low < high:
        middle = (low + high) // 2
        enough = middle * width + rows * math.log2(middle) / 8 >= chunk.total_uncompressed_size
        low, high = (low, middle) if enough else (middle + 1, high)
    return low if low < rows // 2 else None


_NUMBER_BYTES = {"INT32": 4, "INT64": 8, "FLOAT": 4, "DOUBLE": 8}

_DICTIONARY_BITS_MAX = 14
"""Above this a dictionary is close to giving up, and plain numbers are no larger."""

_DICTIONARY_ENTRY_BYTES = 16
"""A dictionary's entry, compressed, is about so large."""


def merged(parts: Iterable[ColumnStatistics]) -> ColumnStatistics:
    """The statistics of all rows together. Parts over one range are taken to hold the same values,
    parts over ranges side by side others.
    """
    found = list(parts)
    if len(found) == 1:
        return found[0]
    distinct = max((part.distinct or 0 for part in found), default=0)
    if any(part.distinct is None for part in found):
        distinct = 0
    bounded = [part for part in found if part.minimum is not None and part.maximum is not None]
    if not bounded or any(p.minimum is None and p.null_count is None for p in found):
        return ColumnStatistics(null_count=_total(found), distinct=distinct or None)
    lows: list[Any] = [part.minimum for part in bounded]
    highs: list[Any] = [part.maximum for part in bounded]
    if distinct and all(isinstance(bound, int) for bound in lows + highs):
        everything = max(highs) - min(lows) + 1
        covered = sum(high - low + 1 for low, high in zip(lows, highs, strict=True))
        apart = min(1.0, everything / covered) * sum(part.distinct or 0 for part in found)
        distinct = max(distinct, int(apart))
    return ColumnStatistics(min(lows), max(highs), _total(found), distinct or None)


def _total(parts: Sequence[ColumnStatistics]) -> int | None:
    counts = [part.null_count for part in parts]
    return None if None in counts else sum(count for count in counts if count is not None)


# -- pruning ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class RowGroupFacts:
    """One row group as predicates see it."""

    rows: int
    column: Callable[[str], ColumnStatistics]
    """By casefolded name; `UNKNOWN` for nested, partition and 32-bit float columns."""


def may_match(predicate: Expr, facts: RowGroupFacts) -> bool:
    """Whether some row of the row group could satisfy the predicate. True when in doubt."""
    predicate = predicate.unnest()
    match predicate:
        case exp.And():
            return may_match(predicate.left, facts) and may_match(predicate.right, facts)
        case exp.Or():
            return may_match(predicate.left, facts) or may_match(predicate.right, facts)
        case exp.EQ() | exp.LT() | exp.LTE() | exp.GT() | exp.GTE():
            return _comparison(predicate, facts)
        case exp.Between():
            low, high = predicate.args["low"], predicate.args["high"]
            return _compare(predicate.this, exp.GTE, low, facts) and _compare(
                predicate.this, exp.LTE, high, facts
            )
        case exp.In() if predicate.expressions and not predicate.args.get("query"):
            return any(_compare(predicate.this, exp.EQ, e, facts) for e in predicate.expressions)
        case exp.Is() if isinstance(predicate.expression, exp.Null):
            return _column(predicate.this, facts).null_count != 0
        case exp.Not():
            return _negation(predicate.this.unnest(), facts)
    return True


def _negation(inner: Expr, facts: RowGroupFacts) -> bool:
    if isinstance(inner, exp.Is) and isinstance(inner.expression, exp.Null):
        return _column(inner.this, facts).null_count != facts.rows
    return True


_MIRRORED: dict[type[Expr], type[Expr]] = {
    exp.EQ: exp.EQ,
    exp.LT: exp.GT,
    exp.LTE: exp.GTE,
    exp.GT: exp.LT,
    exp.GTE: exp.LTE,
}


def _comparison(predicate: exp.Binary, facts: RowGroupFacts) -> bool:
    kind = type(predicate)
    if isinstance(predicate.left.unnest(), exp.Column):
        return _compare(predicate.left, kind, predicate.right, facts)
    return _compare(predicate.right, _MIRRORED[kind], predicate.left, facts)


def _column(expression: Expr, facts: RowGroupFacts) -> ColumnStatistics:
    inner = expression.unnest()
    return facts.column(inner.name.casefold()) if isinstance(inner, exp.Column) else UNKNOWN


def _compare(left: Expr, kind: type[Expr], right: Expr, facts: RowGroupFacts) -> bool:
    found = _column(left, facts)
    if found.null_count == facts.rows:
        return False  # a comparison with NULL is never true
    if isinstance(found.maximum, float) and kind in (exp.GT, exp.GTE):
        return True  # NaN is greater than every number, and no footer mentions it
    bounds = _comparable(found, constant(right))
    if bounds is None:
        return True
    low, high, value = bounds
    if kind is exp.LT:
        return bool(low < value)
    if kind is exp.LTE:
        return bool(low <= value)
    if kind is exp.GT:
        return bool(high > value)
    if kind is exp.GTE:
        return bool(high >= value)
    return bool(low <= value <= high)


_Number = int | float | decimal.Decimal


def _comparable(found: ColumnStatistics, value: object) -> tuple[Any, Any, Any] | None:
    """Bounds and value as the kernel would compare them; None if Python might see it otherwise."""
    low, high = found.minimum, found.maximum
    if isinstance(value, str) and isinstance(low, datetime.date):
        value = _parsed(type(low), value)
    if isinstance(low, datetime.datetime) and type(value) is datetime.date:
        value = datetime.datetime.combine(value, datetime.time())
    if any(isinstance(one, bool) for one in (low, high, value)):
        return None
    if isinstance(low, _Number) and isinstance(high, _Number) and isinstance(value, _Number):
        if any(isinstance(one, float) for one in (low, high, value)):
            low, high, value = float(low), float(high), float(value)
        return None if value != value else (low, high, value)
    kinds = {type(low), type(high), type(value)}
    if kinds in ({str}, {datetime.date}):
        return low, high, value
    if kinds == {datetime.datetime}:
        times: list[Any] = [low, high, value]
        return None if any(time.tzinfo for time in times) else (low, high, value)
    return None


def _parsed(kind: type[datetime.date], text: str) -> datetime.date | None:
    try:
        return kind.fromisoformat(text)
    except ValueError:
        return None


def constant(expression: Expr) -> object:
    """The Python value of a literal, also of one that is cast or negated; None for anything else."""
    inner = expression.unnest()
    match inner:
        case exp.Literal(is_string=True):
            return str(inner.this)
        case exp.Literal():
            return _number(str(inner.this))
        case exp.Neg():
            value = constant(inner.this)
            return -value if isinstance(value, _Number) else None
        case exp.Cast():
            return _cast(constant(inner.this), inner.to)
    return None


def _number(text: str) -> object:
    if text.isdecimal():
        return int(text)
    # The kernel reads 0.07 as a decimal and 7e-2 as a double.
    return float(text) if "e" in text.lower() else decimal.Decimal(text)


def _cast(value: object, to: exp.DataType) -> object:
    try:
        match value:
            case str() if to.this == exp.DType.DATE:
                return datetime.date.fromisoformat(value)
            case str() if to.this == exp.DType.TIMESTAMP:
                return datetime.datetime.fromisoformat(value)
            case str() | int() | decimal.Decimal() if to.this == exp.DType.DOUBLE:
                return float(value)
            case str() if to.this == exp.DType.DECIMAL:
                return decimal.Decimal(value)
            case str() if to.is_type(*exp.DataType.TEXT_TYPES):
                return value
            case int() if to.this in (exp.DType.INT, exp.DType.BIGINT):
                return value
    except (ValueError, decimal.InvalidOperation):
        return None
    return None
