"""Input files and ranges as relations of the kernel.

Parquet, CSV and JSON become views over DuckDB's own readers, so that filters and projections reach the
file. Arrow IPC files and lines of text are streamed through pyarrow. Before a byte is read, each file
is compared with what the driver planned for: it must be there, unchanged, and have the planned columns.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import IO

import duckdb
import numpy as np
import pyarrow as pa

from flowgrid.config import MIB
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.fragment import Field, FileLeaf, FileSplit, RangeLeaf, RangeSplit
from flowgrid_executor.kernels.duckdb_kernel import DuckDbKernel, quote_name, quote_text
from flowgrid_executor.slot_protocol import AttemptError

# fsspec brings asyncio, 150 ms together: only functions that meet a URL import it.

NO_COLUMNS = "#nothing"
"""A relation must have a column in SQL; this one stands in where a plan needs only the rows."""

_TEXT_BYTES = 4 * MIB

_CSV_TYPE_OPTIONS = ("auto_detect", "columns", "hive_types", "types")
"""What stands in the way of reading only the names of a CSV file's columns."""

_READERS = {"parquet": "read_parquet", "csv": "read_csv", "json": "read_json"}


def check_splits(splits: Iterable[FileSplit]) -> None:
    """Raise `AttemptError` for a file that is gone or not the one that was planned."""
    for path, split in {split.path: split for split in splits}.items():
        size, modified_ns = _look_at(path)
        if split.size not in (-1, size) or (
            modified_ns != -1 and split.modified_ns not in (-1, modified_ns)
        ):
            raise _invalid(
                f"{path} changed after the query was planned: run the query again",
                FailureKind.INPUT_CHANGED,
            )


def check_schema(kernel: DuckDbKernel, leaf: FileLeaf, splits: Iterable[FileSplit]) -> None:
    """Raise `AttemptError` for a file that cannot be read or has other columns than planned."""
    cursor = kernel.cursor()
    for split in {split.path: split for split in splits}.values():
        if protocol := _protocol(split.path):
            kernel.use_filesystem(protocol)
        found = _columns_in_file(cursor, leaf, split.path)
        if found is not None:
            _compare(leaf, split.path, found)


def file_view(leaf: FileLeaf, splits: Sequence[FileSplit]) -> str:
    """The query behind a Parquet, CSV or JSON leaf."""
    if not splits:
        return empty_query(leaf.columns)
    columns = ", ".join(
        f"CAST({quote_name(c.name)} AS {c.type}) AS {quote_name(c.name)}" for c in leaf.columns
    )
    select = f"SELECT {columns or f'NULL AS {quote_name(NO_COLUMNS)}'} FROM "
    return " UNION ALL ".join(select + source for source in _sources(leaf, splits))


def range_query(leaf: RangeLeaf, splits: Sequence[RangeSplit]) -> str:
    """The query behind a range leaf."""
    column = quote_name(leaf.column)
    if not splits:
        return empty_query([Field(leaf.column, "BIGINT")])
    return " UNION ALL ".join(
        f"SELECT CAST(range AS BIGINT) AS {column} FROM range({s.start}, {s.stop}, {s.step})"
        for s in splits
    )


def empty_query(columns: Sequence[Field]) -> str:
    """A relation of these columns without rows."""
    nulls = ", ".join(f"CAST(NULL AS {c.type}) AS {quote_name(c.name)}" for c in columns)
    return f"SELECT {nulls or f'NULL AS {quote_name(NO_COLUMNS)}'} WHERE false"


def arrow_file_batches(
    leaf: FileLeaf, splits: Sequence[FileSplit]
) -> tuple[pa.Schema, Callable[[], Iterator[pa.RecordBatch]]] | None:
    """Schema and scan of an IPC or text leaf; None without splits. Raises `AttemptError`."""
    if not splits:
        return None
    if leaf.format == "text":
        return _TEXT, lambda: (batch for split in splits for batch in _lines(split.path))
    names = [column.name for column in leaf.columns]
    with _open(splits[0].path) as file:
        schema = _ipc_reader(file, splits[0].path).schema
    schema = pa.schema([schema.field(name) for name in names])

    def scan() -> Iterator[pa.RecordBatch]:
        for split in splits:
            with _open(split.path) as file:
                for batch in _ipc_batches(file, split.path):
                    yield batch.select(names).cast(schema)

    return schema, scan


# -- SQL over files --------------------------------------------------------------------------------


def _sources(leaf: FileLeaf, splits: Sequence[FileSplit]) -> Iterator[str]:
    """Table functions in the order of the splits, neighbouring whole files in one call."""
    whole: list[str] = []
    for split in splits:
        if split.row_stop < 0:
            whole.append(split.path)
            continue
        if whole:
            yield _call(leaf, whole)
            whole = []
        call = _call(leaf, [split.path], {"file_row_number": "true"})
        yield f"{call} WHERE file_row_number BETWEEN {split.row_start} AND {split.row_stop - 1}"
    if whole:
        yield _call(leaf, whole)


def _call(leaf: FileLeaf, paths: Sequence[str], extra: Mapping[str, str] | None = None) -> str:
    options = {**leaf.options, **(extra or {})}
    if leaf.format in ("csv", "json"):
        options.setdefault("columns", _struct(_columns_read(leaf)))
        if leaf.format == "csv":
            options.setdefault("auto_detect", "false")
    files = ", ".join(quote_text(_without_globs(path)) for path in paths)
    arguments = "".join(f", {name} = {value}" for name, value in options.items())
    return f"{_READERS[leaf.format]}([{files}]{arguments})"


def _columns_read(leaf: FileLeaf) -> Sequence[Field]:
    """The columns inside a file: with Hive partitioning some are in its path only."""
    if not _is_on(leaf, "hive_partitioning"):
        return leaf.file_schema
    types = leaf.options.get("hive_types", "")
    return [c for c in leaf.file_schema if quote_text(c.name) not in types]


def _is_on(leaf: FileLeaf, option: str) -> bool:
    return leaf.options.get(option, "").lower() == "true"


def _struct(columns: Iterable[Field]) -> str:
    return "{" + ", ".join(f"{quote_text(c.name)}: {quote_text(c.type)}" for c in columns) + "}"


def _without_globs(path: str) -> str:
    """A path that DuckDB takes literally: each wildcard as a class of one character."""
    return "".join(f"[{c}]" if c in "*?[" else c for c in path)


# -- is it what was planned? -----------------------------------------------------------------------


def _look_at(path: str) -> tuple[int, int]:
    """Size in bytes and modification time in nanoseconds, -1 for what the file system hides."""
    try:
        if _protocol(path):
            import fsspec

            filesystem, inner = fsspec.core.url_to_fs(path)
            return int(filesystem.info(inner).get("size") or -1), -1
        found = os.stat(path)
        return found.st_size, found.st_mtime_ns
    except FileNotFoundError:
        message = f"{path} does not exist (any more): run the query again"
        raise _invalid(message, FailureKind.INPUT_MISSING) from None
    except OSError as error:
        raise _invalid(f"{path} cannot be read: {error}") from None


def _columns_in_file(
    cursor: duckdb.DuckDBPyConnection, leaf: FileLeaf, path: str
) -> list[Field] | None:
    """The file's own columns, or None where a format has none of its own."""
    try:
        if leaf.format == "parquet":
            return _describe(cursor, f"SELECT * FROM {_call(leaf, [path])}")
        if leaf.format == "ipc":
            with _open(path) as file:
                empty = _ipc_reader(file, path).schema.empty_table()
            cursor.register("#file", empty)
            return _describe(cursor, 'SELECT * FROM "#file"')
        if leaf.format == "csv" and _is_on(leaf, "header"):
            return _header(cursor, leaf, path)
    except duckdb.Error as error:
        raise _invalid(f"{path} cannot be read as {leaf.format}: {error}") from None
    return None


def _describe(cursor: duckdb.DuckDBPyConnection, query: str) -> list[Field]:
    rows = cursor.execute(f"DESCRIBE {query}").fetchall()
    return [Field(row[0], row[1]) for row in rows]


def _header(cursor: duckdb.DuckDBPyConnection, leaf: FileLeaf, path: str) -> list[Field] | None:
    """The names in a CSV file's first line; the planned types are tried when its rows are read."""
    options = {name: v for name, v in leaf.options.items() if name not in _CSV_TYPE_OPTIONS}
    options |= {"all_varchar": "true", "sample_size": "20", "hive_partitioning": "false"}
    arguments = "".join(f", {name} = {value}" for name, value in options.items())
    call = f"read_csv({quote_text(_without_globs(path))}{arguments})"
    names = [field.name for field in _describe(cursor, f"SELECT * FROM {call}")]
    planned = _columns_read(leaf)
    types = {field.name: field.type for field in planned}
    return [Field(name, types.get(name, "VARCHAR")) for name in names] + [
        field for field in leaf.file_schema if field not in planned
    ]


def _compare(leaf: FileLeaf, path: str, found: Sequence[Field]) -> None:
    types = {field.name: field.type for field in found}
    for column in leaf.file_schema:
        if column.name not in types:
            raise _invalid(
                f"{path} has no column {column.name!r}, which other files of the scan have"
            )
        if types[column.name] != column.type:
            raise _invalid(
                f"column {column.name!r} of {path} is {types[column.name]}, "
                f"and {column.type} in other files of the scan"
            )
    planned = {column.name for column in leaf.file_schema}
    for field in found:
        if field.name not in planned:
            raise _invalid(
                f"{path} has a column {field.name!r}, which other files of the scan do not have"
            )


def _invalid(message: str, kind: FailureKind = FailureKind.INPUT_INVALID) -> AttemptError:
    return AttemptError(Failure(kind, message))


# -- files that pyarrow streams --------------------------------------------------------------------

_TEXT = pa.schema({"value": pa.string()})


def _protocol(path: str) -> str:
    """The file system's name in a URL, or nothing for a local path."""
    protocol, separator, _ = path.partition("://")
    return protocol if separator and protocol != "file" else ""


def _open(path: str) -> IO[bytes]:
    if _protocol(path):
        import fsspec

        file: IO[bytes] = fsspec.open(path, "rb").open()
        return file
    return open(path.removeprefix("file://"), "rb")


def _lines(path: str) -> Iterator[pa.RecordBatch]:
    """Lines without their ends (``\\n`` or ``\\r\\n``) as batches of about `_TEXT_BYTES`."""
    with _open(path) as file:
        rest = b""
        while data := file.read(_TEXT_BYTES):
            lines, newline, rest = (rest + data).rpartition(b"\n")
            if newline:
                yield _line_batch(lines, path)
        if rest:
            yield _line_batch(rest.removesuffix(b"\r"), path)


def _line_batch(lines: bytes, path: str) -> pa.RecordBatch:
    if b"\r" in lines:
        lines = (lines + b"\n").replace(b"\r\n", b"\n")[:-1]
    ends = np.flatnonzero(np.frombuffer(lines, np.uint8) == ord("\n"))
    # The k-th line ends k newlines earlier once all newlines are gone.
    offsets = np.empty(len(ends) + 2, np.int32)
    offsets[0], offsets[-1] = 0, len(lines) - len(ends)
    offsets[1:-1] = ends - np.arange(len(ends))
    text = pa.py_buffer(lines.replace(b"\n", b""))
    try:
        values = pa.StringArray.from_buffers(len(ends) + 1, pa.py_buffer(offsets), text)
        values.validate(full=True)
    except pa.ArrowInvalid as error:
        raise _invalid(f"{path} is no UTF-8 text: {error}") from None
    return pa.RecordBatch.from_arrays([values], schema=_TEXT)


def _ipc_reader(
    file: IO[bytes], path: str
) -> pa.RecordBatchFileReader | pa.RecordBatchStreamReader:
    try:
        start = file.read(6)
        file.seek(0)
        return pa.ipc.open_file(file) if start == b"ARROW1" else pa.ipc.open_stream(file)
    except (pa.ArrowException, OSError) as error:
        raise _invalid(f"{path} cannot be read as ipc: {error}") from None


def _ipc_batches(file: IO[bytes], path: str) -> Iterator[pa.RecordBatch]:
    reader = _ipc_reader(file, path)
    try:
        if isinstance(reader, pa.RecordBatchFileReader):
            yield from map(reader.get_batch, range(reader.num_record_batches))
        else:
            yield from reader
    except (pa.ArrowException, OSError) as error:
        raise _invalid(f"{path} cannot be read as ipc: {error}") from None
