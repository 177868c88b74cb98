"""Files and values of the driver to leaves of a plan.

Schemas are fixed here, once: Parquet's and Arrow's are in the files, those of CSV and JSON are what the
kernel makes of a sample, frozen as explicit types so that every task reads the same.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from flowgrid.errors import InputError, PlanError
from flowgrid.expr.tree import literal, to_sql
from flowgrid.expr.types import arrow_to_kernel
from flowgrid.io.datasets import FileDataset
from flowgrid.io.listing import DataFile, Paths, list_files, protocol_of
from flowgrid.logical.nodes import GivenTable, Node, Scan, unique_names
from flowgrid.logical.schema import kernel
from flowgrid.protocol.fragment import Field

if TYPE_CHECKING:
    import duckdb

_READERS = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}

_CSV_WORDS = {
    "delimiter": "delim",
    "separator": "delim",
    "sep": "delim",
    "has_header": "header",
    "null_values": "nullstr",
    "schema": "columns",
    "dtypes": "types",
}
"""Options as Polars and pandas name them, and the kernel's words for them."""

_SNIFFED = {
    "Delimiter": "delim",
    "Quote": "quote",
    "Escape": "escape",
    "Comment": "comment",
    "SkipRows": "skip",
    "HasHeader": "header",
    "DateFormat": "dateformat",
    "TimestampFormat": "timestampformat",
}
"""What the kernel finds out about a CSV file, and the option that says it."""


# -- files -----------------------------------------------------------------------------------------


def read_parquet(paths: Paths, options: Mapping[str, object]) -> Node:
    """Parquet files of one schema; directories ``column=value`` become columns."""
    files = list_files(paths)
    if _in_this_process(files):
        return _given_by_kernel("parquet", files, _literals(options))
    from flowgrid.io.footers import common_fields, read_footers  # pyarrow.parquet: 60 ms

    footers = read_footers(files)
    fields = common_fields(files, footers, lambda file: _describe("parquet", [file], {}))
    hive = _hive_options("parquet", files, _literals(options))
    if hive:
        fields = _describe("parquet", files, hive)
        hive = _with_hive_types(hive, files, fields)
    return _scan("parquet", paths, files, fields, hive or _literals(options), footers)


def read_csv(paths: Paths, options: Mapping[str, object]) -> Node:
    """CSV files; what the options do not say is found out from a sample, once."""
    files = list_files(paths)
    given = _literals({_CSV_WORDS.get(name, name): value for name, value in options.items()})
    if _in_this_process(files):
        return _given_by_kernel("csv", files, given)
    hive = _hive_options("csv", files, given)
    fields = _describe("csv", files, hive or given)
    partitions = _partition_names(files) if hive else []
    said = {name: value for name, value in given.items() if name not in ("columns", "types")}
    in_files = [field for field in fields if field.name not in partitions]
    dialect = _csv_dialect(files, said, None if "columns" in given else in_files)
    frozen = {**dialect, **said}
    if hive:
        frozen = _with_hive_types({**hive, **frozen}, files, fields)
    return _scan("csv", paths, files, fields, frozen)


def read_json(paths: Paths, options: Mapping[str, object]) -> Node:
    """JSON files, one object per line or an array of objects."""
    files = list_files(paths)
    given = _literals(options)
    if _in_this_process(files):
        return _given_by_kernel("json", files, given)
    hive = _hive_options("json", files, given)
    fields = _describe("json", files, hive or given)
    frozen = {name: value for name, value in (hive or given).items() if name != "columns"}
    return _scan("json", paths, files, fields, _with_hive_types(frozen, files, fields))


def read_ipc(paths: Paths) -> Node:
    """Arrow IPC files or streams of one schema."""
    from flowgrid.io.footers import compare_fields

    files = list_files(paths)
    if _in_this_process(files):
        return from_arrow(pa.concat_tables(_ipc_table(file) for file in files))
    fields = _fields_of(_ipc_schema(files[0]))
    for file in files[1:]:
        compare_fields(files[0].path, fields, file.path, _fields_of(_ipc_schema(file)))
    return _scan("ipc", paths, files, fields)


def read_text(paths: Paths) -> Node:
    """Lines of text files, one row each, as the column ``value``."""
    files = list_files(paths)
    if _in_this_process(files):
        lines = [line for file in files for line in _text_lines(file)]
        return from_arrow(pa.table({"value": pa.array(lines, pa.string())}))
    return _scan("text", paths, files, (Field("value", "VARCHAR"),))


def _scan(
    format: str,
    paths: Paths,
    files: Sequence[DataFile],
    fields: tuple[Field, ...],
    options: Mapping[str, str] | None = None,
    footers: tuple[Any, ...] = (),
) -> Scan:
    unique_names((field.name for field in fields), f"the scan of {_label(paths)}")
    dataset = FileDataset(
        format, f"{format} {_label(paths)}", tuple(files), fields, dict(options or {}), footers
    )
    return Scan(fields, dataset)


def _label(paths: Paths) -> str:
    given = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    more = f" and {len(given) - 1} more" if len(given) > 1 else ""
    return f"{os.fspath(given[0])}{more}"


def _literals(options: Mapping[str, object]) -> dict[str, str]:
    return {name: to_sql(literal(value)) for name, value in options.items() if value is not None}


# -- what only the kernel can tell -----------------------------------------------------------------


def _ask(question: str, files: Sequence[DataFile]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Columns and rows of the kernel's answer. Raises `InputError` with the kernel's reason."""
    import duckdb

    cursor = kernel().cursor()
    for protocol in {protocol_of(file.path) for file in files} - {""}:
        _use_filesystem(cursor, protocol)
    try:
        answer = cursor.execute(question)
        return [column[0] for column in answer.description], answer.fetchall()
    except duckdb.BinderException as error:
        raise PlanError(str(error).split("\n")[0].removeprefix("Binder Error: ")) from None
    except duckdb.Error as error:
        shown = f"{files[0].path}" + (f" and {len(files) - 1} more" if len(files) > 1 else "")
        raise InputError(f"{shown} cannot be read: {_first_lines(str(error))}") from None


def _first_lines(text: str) -> str:
    return " ".join(line.strip() for line in text.split("\n")[:3] if line.strip())


def _use_filesystem(cursor: duckdb.DuckDBPyConnection, protocol: str) -> None:
    import fsspec

    if not cursor.filesystem_is_registered(protocol):
        cursor.register_filesystem(fsspec.filesystem(protocol))


def _call(format: str, files: Sequence[DataFile], options: Mapping[str, str]) -> str:
    paths = ", ".join(to_sql(literal(_without_globs(file.path))) for file in files)
    rest = "".join(f", {name} = {value}" for name, value in options.items())
    return f"{_READERS[format]}([{paths}]{rest})"


def _without_globs(path: str) -> str:
    """A path that the kernel takes literally: each wildcard as a class of one character."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)


def _describe(
    format: str, files: Sequence[DataFile], options: Mapping[str, str]
) -> tuple[Field, ...]:
    _, rows = _ask(f"DESCRIBE SELECT * FROM {_call(format, files, options)}", files)
    return tuple(Field(row[0], row[1]) for row in rows)


def _csv_dialect(
    files: Sequence[DataFile], given: Mapping[str, str], planned: Sequence[Field] | None
) -> dict[str, str]:
    """Delimiter, quotes, header and so on of the first file; all must have the columns planned."""
    from flowgrid.io.footers import compare_fields

    if planned is None:  # the user has said what the columns are, whatever the files call them
        return _sniffed(files[0], given)[0]
    found = [_sniffed(file, given) for file in files]
    types = {field.name: field.type for field in planned}
    for file, (_, names) in zip(files, found, strict=True):
        compare_fields(
            files[0].path, planned, file.path, [Field(n, types.get(n, "VARCHAR")) for n in names]
        )
    return found[0][0]


def _sniffed(file: DataFile, given: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    rest = "".join(f", {name} = {value}" for name, value in given.items())
    path = to_sql(literal(_without_globs(file.path)))
    columns, rows = _ask(f"FROM sniff_csv({path}{rest})", [file])
    answer = dict(zip(columns, rows[0], strict=True))
    dialect = {
        option: to_sql(literal("" if answer[word] == "(empty)" else answer[word]))
        for word, option in _SNIFFED.items()
        if answer[word] is not None
    }
    dialect["header"] = dialect["header"].lower()
    return dialect, [column["name"] for column in answer["Columns"]]


def _given_by_kernel(format: str, files: Sequence[DataFile], options: Mapping[str, str]) -> Node:
    """Files that only this process can see, as a table that the driver holds."""
    import duckdb

    cursor = kernel().cursor()
    for protocol in {protocol_of(file.path) for file in files}:
        _use_filesystem(cursor, protocol)
    try:
        return from_arrow(
            cursor.sql(f"SELECT * FROM {_call(format, files, options)}").to_arrow_table()
        )
    except duckdb.Error as error:
        raise InputError(
            f"{files[0].path} cannot be read as {format}: {_first_lines(str(error))}"
        ) from None


# -- directories that are columns ------------------------------------------------------------------


def _partition_names(files: Sequence[DataFile]) -> list[str]:
    """The columns in the paths, if all files have the same ones."""
    found = {
        tuple(part.partition("=")[0] for part in file.path.split("/")[:-1] if "=" in part)
        for file in files
    }
    return list(found.pop()) if len(found) == 1 else []


def _hive_options(
    format: str, files: Sequence[DataFile], options: dict[str, str]
) -> dict[str, str]:
    """The reader's options if directories are columns, else none."""
    if options.get("hive_partitioning", "true").lower() != "true" or not _partition_names(files):
        return {}
    return {**options, "hive_partitioning": "true"}


def _with_hive_types(
    options: dict[str, str], files: Sequence[DataFile], fields: Sequence[Field]
) -> dict[str, str]:
    """Types of partition columns as found over all files: one task sees only some of them."""
    if options.get("hive_partitioning") != "true":
        return options
    names = {name.casefold() for name in _partition_names(files)}
    types = {field.name: field.type for field in fields if field.name.casefold() in names}
    return {**options, "hive_types": to_sql(literal(types))}


# -- Arrow -----------------------------------------------------------------------------------------


def from_arrow(data: object) -> GivenTable:
    """Rows that the driver holds: anything with ``__arrow_c_stream__``, batches, a reader.

    Raises `InputError` for anything else.
    """
    table = _as_table(data)
    unique_names(table.column_names, "the table")
    table = table.cast(
        pa.schema([field.with_type(_held_type(field.type)) for field in table.schema])
    )
    return GivenTable(_fields_of(table.schema), table)


def from_pylist(rows: Iterable[Mapping[str, object]], schema: pa.Schema | None) -> GivenTable:
    """Rows as dicts. Raises `InputError` for rows without a common type."""
    try:
        table = pa.Table.from_pylist(list(rows), schema=schema)
    except (pa.ArrowException, TypeError) as error:
        raise InputError(f"the rows do not make a table: {error}") from None
    if not table.num_columns:
        raise InputError("no rows and no schema: give at least one of them")
    return from_arrow(table)


def _as_table(data: object) -> pa.Table:
    if isinstance(data, pa.Table):
        return data
    try:
        if isinstance(data, list | tuple) and data:
            return pa.concat_tables(_as_table(part) for part in data)
        if isinstance(data, pa.RecordBatch):
            return pa.Table.from_batches([data])
        if hasattr(data, "__arrow_c_stream__") or hasattr(data, "__arrow_c_array__"):
            return pa.table(data)
    except (pa.ArrowException, TypeError) as error:
        raise InputError(f"the data does not make a table: {error}") from None
    raise InputError(
        f"{type(data).__name__} is no Arrow data: give a pyarrow Table or RecordBatch, a pandas or "
        "Polars frame, or anything else with __arrow_c_stream__"
    )


def _held_type(type_: pa.DataType) -> pa.DataType:
    """Types that the kernel and blocks know; a column of only NULL is INTEGER as in SQL."""
    if pa.types.is_float16(type_):
        return pa.float32()
    if pa.types.is_dictionary(type_):
        return _held_type(type_.value_type)
    return pa.int32() if pa.types.is_null(type_) else type_


def _fields_of(schema: pa.Schema) -> tuple[Field, ...]:
    """Columns of an Arrow schema in the kernel's words; the kernel is asked only where it must be."""
    types = [arrow_to_kernel(field.type) for field in schema]
    if any(type_ is None for type_ in types):
        types = [str(type_) for type_ in kernel().cursor().from_arrow(schema.empty_table()).types]
    return tuple(Field(n, str(t)) for n, t in zip(schema.names, types, strict=True))


def fields_of(schema: pa.Schema) -> tuple[Field, ...]:
    """As `_fields_of`; raises `PlanError` for a type that the kernel does not know."""
    import duckdb

    try:
        return _fields_of(schema)
    except duckdb.Error as error:
        raise PlanError(f"the kernel has no type for this schema: {error}") from None


# -- files that only pyarrow and Python read -------------------------------------------------------


def _in_this_process(files: Sequence[DataFile]) -> bool:
    return any(protocol_of(file.path) == "memory" for file in files)


def _opened(file: DataFile, use: Callable[[Any], Any]) -> Any:
    import fsspec

    with fsspec.open(file.path, "rb") as opened:
        return use(opened)


def _ipc_reader(opened: Any) -> Any:
    start = opened.read(6)
    opened.seek(0)
    return pa.ipc.open_file(opened) if start == b"ARROW1" else pa.ipc.open_stream(opened)


def _ipc_schema(file: DataFile) -> pa.Schema:
    try:
        return _opened(file, lambda opened: _ipc_reader(opened).schema)
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file.path} cannot be read as Arrow IPC: {error}") from None


def _ipc_table(file: DataFile) -> pa.Table:
    try:
        return _opened(file, lambda opened: _ipc_reader(opened).read_all())
    except (pa.ArrowException, OSError) as error:
        raise InputError(f"{file.path} cannot be read as Arrow IPC: {error}") from None


def _text_lines(file: DataFile) -> list[str]:
    text: bytes = _opened(file, lambda opened: opened.read())
    lines = text.replace(b"\r\n", b"\n").split(b"\n")
    return [line.decode() for line in (lines[:-1] if not lines[-1] else lines)]
