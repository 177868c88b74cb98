"""Parquet footers: read in parallel, and their columns in the kernel's words."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq

from flowgrid.errors import InputError, SchemaMismatchError
from flowgrid.io.listing import DataFile, protocol_of
from flowgrid.protocol.fragment import Field

_READERS_MAX = 16
"""Footers read at a time: local ones are bound by Python, remote ones by the round trip."""

Describe = Callable[[DataFile], tuple[Field, ...]]
"""Asks the kernel for a file's columns."""


def read_footers(files: Sequence[DataFile]) -> tuple[pq.FileMetaData, ...]:
    """The footers of all files, in order. Raises `InputError` that names the file."""
    if len(files) == 1:
        return (_read_footer(files[0]),)
    with ThreadPoolExecutor(min(_READERS_MAX, len(files))) as pool:
        return tuple(pool.map(_read_footer, files))


def _read_footer(file: DataFile) -> pq.FileMetaData:
    try:
        if protocol_of(file.path):
            import fsspec

            with fsspec.open(file.path, "rb") as opened:
                return pq.read_metadata(opened)
        return pq.read_metadata(file.path)
    except (pa.ArrowException, OSError) as error:
        reason = str(error).split("\n")[0].rstrip(".")
        raise InputError(f"{file.path} cannot be read as Parquet: {reason}") from None


def common_fields(
    files: Sequence[DataFile], footers: Sequence[pq.FileMetaData], describe: Describe
) -> tuple[Field, ...]:
    """The columns that all files have, in the first one's order.

    Raises `SchemaMismatchError` that names the file, the column and both types.
    """
    first = _fields(files[0], footers[0], describe)
    for file, footer in zip(files[1:], footers[1:], strict=True):
        if not footer.schema.equals(footers[0].schema):
            compare_fields(files[0].path, first, file.path, _fields(file, footer, describe))
    return first


def compare_fields(
    path: str, fields: Sequence[Field], other_path: str, others: Sequence[Field]
) -> None:
    """Raise `SchemaMismatchError` unless both have the same columns, in whatever order."""
    wanted = {field.name: field.type for field in fields}
    found = {field.name: field.type for field in others}
    for name in {**wanted, **found}:
        if name not in found or name not in wanted:
            without, having = (other_path, path) if name in wanted else (path, other_path)
            raise SchemaMismatchError(
                f"column {name!r} is in {having} and not in {without}: "
                "files of one scan need the same columns"
            )
        if wanted[name] != found[name]:
            raise SchemaMismatchError(
                f"column {name!r} is {found[name]} in {other_path} and {wanted[name]} in {path}: "
                "files of one scan need the same types"
            )


def _fields(file: DataFile, footer: pq.FileMetaData, describe: Describe) -> tuple[Field, ...]:
    """The file's columns, without the kernel if all of them are of plain types."""
    schema = footer.schema
    found: list[Field] = []
    for index in range(footer.num_columns):
        leaf = schema.column(index)
        type_ = None if leaf.path != leaf.name or leaf.max_repetition_level else _plain_type(leaf)
        if type_ is None:
            return describe(file)
        found.append(Field(leaf.name, type_))
    return tuple(found)


_PHYSICAL = {
    "BOOLEAN": "BOOLEAN",
    "INT32": "INTEGER",
    "INT64": "BIGINT",
    "FLOAT": "FLOAT",
    "DOUBLE": "DOUBLE",
    "BYTE_ARRAY": "BLOB",
}

_INTEGERS = {8: "TINYINT", 16: "SMALLINT", 32: "INTEGER", 64: "BIGINT"}


def _plain_type(leaf: pq.ColumnSchema) -> str | None:
    """The kernel's type of a column that is not nested; None where it should be asked."""
    logical = json.loads(leaf.logical_type.to_json())
    match logical["Type"]:
        case "None" | "Undefined":
            return _PHYSICAL.get(leaf.physical_type)
        case "String":
            return "VARCHAR"
        case "Date":
            return "DATE"
        case "Int":
            return ("" if logical["isSigned"] else "U") + _INTEGERS[logical["bitWidth"]]
        case "Decimal":
            return f"DECIMAL({logical['precision']},{logical['scale']})"
        case "Timestamp" if logical["timeUnit"] in ("milliseconds", "microseconds"):
            return "TIMESTAMP WITH TIME ZONE" if logical["isAdjustedToUTC"] else "TIMESTAMP"
    return None
