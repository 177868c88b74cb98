"""Are two answers the same? Decimals exactly, floats nearly, order only where it was asked for.

An ORDER BY fixes the order of rows only up to ties. So answers are compared as multisets of rows, and
their sort columns, if there are any, in sequence.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import sqlglot
from sqlglot import exp

RELATIVE_TOLERANCE = 1e-9
"""For floating point, whose sums depend on the order of the rows."""

Row = tuple[Any, ...]


class AnswersDiffer(AssertionError):
    """Two answers to one question; the message shows the first difference."""


def require_equal(ours: pa.Table, theirs: pa.Table, sort_columns: Sequence[str] = ()) -> None:
    """Raise `AnswersDiffer` unless both tables hold the same rows.

    Columns are matched by position, their types by kind (integer, decimal, float, text, …), and the
    values of `sort_columns` must come in the same sequence.
    """
    kinds = [[_kind(field.type) for field in table.schema] for table in (ours, theirs)]
    if ours.column_names != theirs.column_names or kinds[0] != kinds[1]:
        raise AnswersDiffer(f"columns differ:\n{ours.schema}\nagainst\n{theirs.schema}")
    _require_same_tables(ours, theirs, sort_columns, [0.0] * ours.num_columns)


def require_alike(ours: pa.Table, theirs: pa.Table, sort_columns: Sequence[str] = ()) -> None:
    """As `require_equal`, for another engine's answer: its types and names are its own affair.

    Columns are matched by position. Numbers of different kinds are compared as floats, up to the last
    digit of a decimal that the other side rounded elsewhere; dates, with a time or without, by their
    instant.
    """
    if ours.num_columns != theirs.num_columns:
        raise AnswersDiffer(f"{ours.num_columns} columns against {theirs.num_columns}")
    columns = [_alike(one, two) for one, two in zip(ours.columns, theirs.columns, strict=True)]
    _require_same_tables(
        pa.table([one for one, _, _ in columns], names=theirs.column_names),
        pa.table([two for _, two, _ in columns], names=theirs.column_names),
        sort_columns,
        [tolerance for _, _, tolerance in columns],
    )


def _alike(
    ours: pa.ChunkedArray, theirs: pa.ChunkedArray
) -> tuple[pa.ChunkedArray, pa.ChunkedArray, float]:
    """Two columns in the same type, where there is one for both, and how far values may differ."""
    types = (ours.type, theirs.type)
    scales = {type_.scale for type_ in types if pa.types.is_decimal(type_)}
    same_kind = _kind(ours.type) == _kind(theirs.type)
    if all(map(_is_numeric, types)) and not (same_kind and len(scales) < 2):
        tolerance = max((10.0**-scale for scale in scales), default=0.0)
        exact = scales == {0} or not scales
        return ours.cast(pa.float64()), theirs.cast(pa.float64()), 0.0 if exact else tolerance
    if all(map(pa.types.is_temporal, types)):
        return ours.cast(pa.timestamp("us")), theirs.cast(pa.timestamp("us")), 0.0
    return ours, theirs, 0.0


def _is_numeric(type_: pa.DataType) -> bool:
    return _kind(type_) in ("integer", "decimal", "float")


def _require_same_tables(
    ours: pa.Table, theirs: pa.Table, sort_columns: Sequence[str], tolerances: Sequence[float]
) -> None:
    if ours.num_rows != theirs.num_rows:
        raise AnswersDiffer(f"{ours.num_rows} rows against {theirs.num_rows}")
    exact_first = sorted(
        range(theirs.num_columns), key=lambda i: pa.types.is_floating(theirs.schema[i].type)
    )
    _require_same_rows(
        _sorted_rows(ours, exact_first), _sorted_rows(theirs, exact_first), tolerances
    )
    if sort_columns:
        wanted = [name.casefold() for name in sort_columns]
        names = theirs.column_names
        places = [i for one in wanted for i, name in enumerate(names) if name.casefold() == one]
        _require_same_rows(
            _rows(ours.select(places)),
            _rows(theirs.select(places)),
            [tolerances[place] for place in places],
        )


def sort_columns(sql: str) -> list[str]:
    """The output columns that the outermost ORDER BY of a query sorts by, as far as it names them."""
    tree = sqlglot.parse_one(sql, read="duckdb")
    if not isinstance(tree, exp.Query):
        return []
    order = tree.args.get("order")
    named = [name.lower() for name in tree.named_selects]
    columns: list[str] = []
    for term in order.expressions if order is not None else ():
        key = term.this
        if isinstance(key, exp.Literal) and key.is_int:
            columns.append(named[int(key.this) - 1])
        elif isinstance(key, exp.Column) and key.name.lower() in named:
            columns.append(key.name.lower())
        else:  # sorted by something that is not shown: from here on the order cannot be seen
            break
    return columns


def _rows(table: pa.Table) -> list[Row]:
    columns = [column.to_pylist() for column in table.columns]
    return list(zip(*columns, strict=True)) if columns else [()] * table.num_rows


def _sorted_rows(table: pa.Table, order: Sequence[int]) -> list[Row]:
    def key(row: Row) -> list[tuple[bool, str | Any]]:
        values = (row[i] for i in order)
        return [(v is None, _comparable(v)) for v in values]

    return sorted(_rows(table), key=key)


def _comparable(value: Any) -> Any:
    """A value that sorts among others of its column: containers and NULLs do not by themselves."""
    if value is None:
        return 0
    return repr(value) if isinstance(value, list | dict | bool) else value


def _require_same_rows(ours: list[Row], theirs: list[Row], tolerances: Sequence[float]) -> None:
    for number, (left, right) in enumerate(zip(ours, theirs, strict=True)):
        if not all(map(_same, left, right, tolerances)):
            raise AnswersDiffer(f"row {number} differs:\n  {left}\nagainst\n  {right}")


def _same(left: Any, right: Any, tolerance: float) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        both_nan = math.isnan(left) and math.isnan(right)
        near = math.isclose(left, right, rel_tol=RELATIVE_TOLERANCE, abs_tol=tolerance)
        return both_nan or near
    return bool(left == right)


def _kind(type_: pa.DataType) -> str:
    """What a type is to a reader of the answer, without regard to its width."""
    if pa.types.is_decimal(type_):
        return "decimal"
    if pa.types.is_integer(type_):
        return "integer"
    if pa.types.is_floating(type_):
        return "float"
    if (
        pa.types.is_string(type_)
        or pa.types.is_large_string(type_)
        or pa.types.is_string_view(type_)
    ):
        return "text"
    return str(type_)
