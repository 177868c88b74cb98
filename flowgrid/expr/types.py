"""Types of Arrow and Python in the kernel's own words, for those that have one name on both sides."""

from __future__ import annotations

import datetime
import decimal
from typing import TYPE_CHECKING

from flowgrid.errors import PlanError

if TYPE_CHECKING:
    import pyarrow as pa

_PYTHON_TYPES: dict[object, str] = {
    bool: "BOOLEAN",
    int: "BIGINT",
    float: "DOUBLE",
    str: "VARCHAR",
    bytes: "BLOB",
    decimal.Decimal: "DECIMAL(38,9)",
    datetime.date: "DATE",
    datetime.datetime: "TIMESTAMP",
    datetime.time: "TIME",
    datetime.timedelta: "INTERVAL",
}

_ARROW_TYPES = {
    "bool": "BOOLEAN",
    "int8": "TINYINT",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "int64": "BIGINT",
    "uint8": "UTINYINT",
    "uint16": "USMALLINT",
    "uint32": "UINTEGER",
    "uint64": "UBIGINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "large_string": "VARCHAR",
    "string_view": "VARCHAR",
    "binary": "BLOB",
    "large_binary": "BLOB",
    "binary_view": "BLOB",
    "date32[day]": "DATE",
    "time64[us]": "TIME",
    "timestamp[s]": "TIMESTAMP_S",
    "timestamp[ms]": "TIMESTAMP_MS",
    "timestamp[us]": "TIMESTAMP",
    "timestamp[ns]": "TIMESTAMP_NS",
}


def arrow_to_kernel(type_: pa.DataType) -> str | None:
    """The kernel's name of an Arrow type; None where only the kernel itself can tell."""
    import pyarrow as pa  # not at module level: expressions without casts need no Arrow

    if pa.types.is_timestamp(type_) and type_.tz is not None:
        return "TIMESTAMP WITH TIME ZONE"
    if pa.types.is_decimal(type_) and type_.precision <= 38:
        return f"DECIMAL({type_.precision},{type_.scale})"
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        item = arrow_to_kernel(type_.value_type)
        return None if item is None else f"{item}[]"
    return _ARROW_TYPES.get(str(type_))


def kernel_type(type_: object) -> str:
    """A type as users write it (SQL text, a Python or an Arrow type) in the kernel's words.

    Raises `PlanError` for anything else.
    """
    if isinstance(type_, str):
        return type_
    known = _PYTHON_TYPES.get(type_) if isinstance(type_, type) else None
    if known is None and type(type_).__module__.startswith("pyarrow"):
        known = arrow_to_kernel(type_)
    if known is None:
        raise PlanError(
            f"{type_!r} names no type: give SQL such as 'DECIMAL(15,2)', a Python type or an Arrow type"
        )
    return known
