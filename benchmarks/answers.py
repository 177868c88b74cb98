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
    if ours.num_rows != theirs.num_rows:
        raise AnswersDiffer(f"{ours.num_rows} rows against {theirs.num_rows}")
    exact_first = sorted(range(ours.num_columns), key=lambda i: kinds[0][i] == "float")
    _require_same_rows(_sorted_rows(ours, exact_first), _sorted_rows(theirs, exact_first))
    if sort_columns:
        wanted = [name.casefold() for name in sort_columns]
        columns = [name for one in wanted for name in ours.column_names if name.casefold() == one]
        _require_same_rows(_rows(ours.select(columns)), _rows(theirs.select(columns)))


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


def _require_same_rows(ours: list[Row], theirs: list[Row]) -> None:
    for number, (left, right) in enumerate(zip(ours, theirs, strict=True)):
        if not all(map(_same, left, right)):
            raise AnswersDiffer(f"row {number} differs:\n  {left}\nagainst\n  {right}")


def _same(left: Any, right: Any) -> bool:
    if isinstance(left, float) and isinstance(right, float):
        both_nan = math.isnan(left) and math.isnan(right)
        return both_nan or math.isclose(left, right, rel_tol=RELATIVE_TOLERANCE)
    return bool(left == right)


def _kind(type_: pa.DataType) -> str:
    """What a type is to a reader of the answer, without regard to its width."""
    if pa.types.is_decimal(type_):
        return "decimal"
    if pa.types.is_integer(type_):
        return "integer"
    if pa.types.is_floating(type_):
        return "float"
    if pa.types.is_string(type_) or pa.types.is_large_string(type_):
        return "text"
    return str(type_)
