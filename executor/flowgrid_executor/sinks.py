"""A task's rows to files of the user's format, below the attempt's own staging folder.

What the user sees appears at commit, never here. The kernel prepares the rows (lines of CSV and JSON
are made by one query, partition values are text), this module cuts them by partition value and writes.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Sequence
from typing import Any, Protocol
from urllib.parse import quote

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from flowgrid.config import MIB
from flowgrid.ids import AttemptId
from flowgrid.io.arrow_types import plain_schema, stored_schema, to_plain, to_stored
from flowgrid.io.commit import attempt_folder
from flowgrid.protocol.fragment import Field, SinkOutput
from flowgrid.protocol.reports import WrittenFile
from flowgrid_executor.kernels.duckdb_kernel import quote_name, quote_text
from flowgrid_executor.shuffle.columns import gather, numbers_of
from flowgrid_executor.shuffle.partitioner import group_rows

_KEY = "#key"
_LINE = "#line"

_NULL_DIRECTORY = "__HIVE_DEFAULT_PARTITION__"

_OPEN_FILES_MAX = 64
"""Files that one attempt has open; above it the one not used for longest is finished."""

_ROW_GROUP_ROWS = 1_000_000
_NO_END = 1 << 62
HELD_BYTES_MAX = 128 * MIB
"""Rows waiting for their Parquet row group to be full, over all open files."""

_FILE_BYTES = "target_file_bytes"

_HARMLESS = re.compile(
    r"U?(TINY|SMALL|BIG|HUGE)INT|U?INTEGER|DECIMAL\(.*\)|FLOAT|DOUBLE|BOOLEAN|DATE|TIME(STAMP)?(_\w+)?"
)
"""Types whose text never needs quotes in a CSV file with a usual delimiter."""

_AS_TEXT = ("BIT", "TIME WITH TIME ZONE", "BIGNUM", "VARIANT", "GEOMETRY")
"""Types that no Arrow or Parquet type stands for."""


def sink_projection(sink: SinkOutput, columns: Sequence[Field]) -> str:
    """The select list that makes the rows of a sink from a relation of these columns."""
    keys = [
        f"CAST({quote_name(name)} AS VARCHAR) AS {quote_name(f'{_KEY}{i}')}"
        for i, name in enumerate(sink.partition_by)
    ]
    payload = [column for column in columns if column.name not in sink.partition_by]
    match sink.format:
        case "csv":
            rows = [f"{_csv_line(payload, _delimiter(sink))} AS {quote_name(_LINE)}"]
        case "json":
            members = ", ".join(f"{quote_text(c.name)}: {quote_name(c.name)}" for c in payload)
            rows = [f"CAST(to_json({{{members}}}) AS VARCHAR) || chr(10) AS {quote_name(_LINE)}"]
        case _:
            rows = [_file_column(column) for column in payload]
    return ", ".join([*keys, *rows])


class SinkWriter:
    """Writes one attempt's files. Leaving the context with an error deletes all of them."""

    def __init__(
        self,
        sink: SinkOutput,
        attempt: AttemptId,
        columns: Sequence[Field],
        held_bytes_max: int = HELD_BYTES_MAX,
    ) -> None:
        self._held_bytes_max = held_bytes_max
        self._sink = sink
        self._attempt = attempt
        self._header = _header(sink, columns)
        self._filesystem, root = fsspec.core.url_to_fs(sink.staging)
        self._folder = posixpath.join(root, attempt_folder(attempt))
        self._open: dict[str, _SinkFile] = {}  # by directory, the one used last at the end
        self._opened: dict[str, int] = {}
        self._written: list[WrittenFile] = []

    def __enter__(self) -> SinkWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            for file in self._open.values():
                file.abandon()
            if self._filesystem.exists(self._folder):
                self._filesystem.rm(self._folder, recursive=True)

    def write_all(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Write the rows of `sink_projection`. Raises OSError and what `batches` raises."""
        keys = len(self._sink.partition_by)
        rows_schema = plain_schema(stored_schema(pa.schema(list(schema)[keys:])))
        for batch in batches:
            rows = _rows_of(batch, keys, schema)
            for directory, part in self._parts(batch, rows, keys):
                self._write(directory, rows_schema, part)
            self._bound_held_bytes()
        if not keys and not self._opened and self._attempt.partition == 0:
            self._file("", rows_schema)  # an empty result still says which columns it has

    def finish(self) -> tuple[WrittenFile, ...]:
        """Complete all files. Their paths are relative to the attempt's folder."""
        for directory in list(self._open):
            self._finish_file(directory)
        return tuple(self._written)

    def _parts(
        self, batch: pa.RecordBatch, rows: pa.RecordBatch, keys: int
    ) -> Iterable[tuple[str, pa.RecordBatch]]:
        if not keys:
            return [("", rows)] if rows.num_rows else []
        codes = np.zeros(batch.num_rows, dtype=np.int64)
        for column in batch.columns[:keys]:
            encoded = column.dictionary_encode(null_encoding="encode")
            codes = codes * len(encoded.dictionary) + numbers_of(encoded.indices)
        groups, numbers = np.unique(codes, return_inverse=True)
        order, bounds = group_rows(numbers, len(groups))
        taken = gather(rows, order)
        parts = []
        for group in range(len(groups)):
            start, stop = int(bounds[group]), int(bounds[group + 1])
            first = int(order[start])
            values = [column[first].as_py() for column in batch.columns[:keys]]
            parts.append(
                (_directory(self._sink.partition_by, values), taken.slice(start, stop - start))
            )
        return parts

    def _write(self, directory: str, schema: pa.Schema, rows: pa.RecordBatch) -> None:
        while rows.num_rows:
            file = self._file(directory, schema)
            rows = rows.slice(file.write(rows))
            if file.is_full:
                self._finish_file(directory)

    def _file(self, directory: str, schema: pa.Schema) -> _SinkFile:
        file = self._open.pop(directory, None)
        if file is None:
            if len(self._open) >= _OPEN_FILES_MAX:
                self._finish_file(next(iter(self._open)))
            file = self._create(directory, schema)
        self._open[directory] = file
        return file

    def _create(self, directory: str, schema: pa.Schema) -> _SinkFile:
        number = self._opened.get(directory, 0)
        self._opened[directory] = number + 1
        again = f"-{number}" if number else ""
        if _FILE_BYTES in self._sink.options:  # rows in order are in files whose names are in order
            again = f"-{number:05d}"
        name = (
            f"part-{self._attempt.partition:05d}-{self._attempt.number}{again}.{self._sink.format}"
        )
        path = posixpath.join(directory, name)
        full_path = posixpath.join(self._folder, path)
        self._filesystem.makedirs(posixpath.dirname(full_path), exist_ok=True)
        stream = self._filesystem.open(full_path, "wb")
        format_ = _open_format(self._sink, stream, schema, self._header)
        return _SinkFile(path, stream, format_, _file_bytes(self._sink))

    def _finish_file(self, directory: str) -> None:
        self._written.append(self._open.pop(directory).finish())

    def _bound_held_bytes(self) -> None:
        while sum(file.format.held_bytes for file in self._open.values()) > self._held_bytes_max:
            max(self._open.values(), key=lambda file: file.format.held_bytes).format.flush()


class _Format(Protocol):
    """One open file of a format."""

    held_bytes: int

    def write(self, rows: pa.RecordBatch) -> int:
        """Take some of the rows, from the first on, and say how many."""

    def flush(self) -> None: ...

    def close(self) -> None: ...


class _SinkFile:
    def __init__(self, path: str, stream: Any, format_: _Format, bytes_target: int) -> None:
        self._path = path
        self._stream = stream
        self._bytes_target = bytes_target
        self.format = format_
        self._rows = 0

    def write(self, rows: pa.RecordBatch) -> int:
        taken = self.format.write(rows)
        self._rows += taken
        return taken

    @property
    def is_full(self) -> bool:
        """Whether what is in the file already makes it as large as it should be."""
        return int(self._stream.tell()) >= self._bytes_target

    def finish(self) -> WrittenFile:
        self.format.close()
        size = self._stream.tell()
        self._stream.close()
        return WrittenFile(self._path, self._rows, size)

    def abandon(self) -> None:
        self._stream.close()


class _Parquet:
    """Row groups of so many rows, or less where a file, or what may be held, has fewer bytes."""

    def __init__(self, stream: Any, schema: pa.Schema, sink: SinkOutput) -> None:
        compression = sink.options.get("compression", "zstd")
        self._writer = pq.ParquetWriter(stream, schema, compression=compression)
        self._group_rows = int(sink.options.get("row_group_rows", _ROW_GROUP_ROWS))
        self._group_bytes = _file_bytes(sink)
        self._held: list[pa.RecordBatch] = []
        self._held_rows = self.held_bytes = 0

    def write(self, rows: pa.RecordBatch) -> int:
        part = rows.slice(0, self._group_rows - self._held_rows)
        self._held.append(part)
        self._held_rows += part.num_rows
        self.held_bytes += part.nbytes
        if self._held_rows >= self._group_rows or self.held_bytes >= self._group_bytes:
            self.flush()
        return int(part.num_rows)

    def flush(self) -> None:
        if self._held:
            table = pa.Table.from_batches(self._held)
            self._writer.write_table(table, row_group_size=self._held_rows)
        self._held.clear()
        self._held_rows = self.held_bytes = 0

    def close(self) -> None:
        self.flush()
        self._writer.close()


class _Ipc:
    """An Arrow IPC file."""

    held_bytes = 0

    def __init__(self, stream: Any, schema: pa.Schema, compression: str | None) -> None:
        options = pa.ipc.IpcWriteOptions(compression=compression)
        self._writer = pa.ipc.new_file(stream, schema, options=options)

    def write(self, rows: pa.RecordBatch) -> int:
        self._writer.write_batch(rows)
        return int(rows.num_rows)

    def flush(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        self._writer.close()


class _Lines:
    """Text whose lines the kernel made, each with its end: the column's bytes are the file's."""

    held_bytes = 0

    def __init__(self, stream: Any, header: str) -> None:
        self._stream = stream
        stream.write(header.encode())

    def write(self, rows: pa.RecordBatch) -> int:
        lines = rows.column(0)
        first, last = (
            np.frombuffer(lines.buffers()[1], np.int32)[lines.offset + at] for at in (0, len(lines))
        )
        self._stream.write(lines.buffers()[2][int(first) : int(last)])
        return int(rows.num_rows)

    def flush(self) -> None:
        """Nothing is held."""

    def close(self) -> None:
        """Nothing is held."""


def _open_format(sink: SinkOutput, stream: Any, schema: pa.Schema, header: str) -> _Format:
    match sink.format:
        case "parquet":
            return _Parquet(stream, schema, sink)
        case "ipc":
            return _Ipc(stream, schema, sink.options.get("compression"))
        case "csv" | "json":
            return _Lines(stream, header)
    raise ValueError(f"unknown sink format {sink.format!r}")


def _file_bytes(sink: SinkOutput) -> int:
    return int(sink.options.get(_FILE_BYTES, _NO_END))


def _rows_of(batch: pa.RecordBatch, keys: int, schema: pa.Schema) -> pa.RecordBatch:
    rows = batch.select(schema.names[keys:])
    return to_plain(to_stored(rows, stored_schema(rows.schema)))


def _directory(names: Sequence[str], values: Sequence[str | None]) -> str:
    return "/".join(
        f"{quote(name, safe='')}={_NULL_DIRECTORY if value is None else quote(value, safe='')}"
        for name, value in zip(names, values, strict=True)
    )


# -- the kernel's part -----------------------------------------------------------------------------


def _file_column(column: Field) -> str:
    name = quote_name(column.name)
    if column.type in ("HUGEINT", "UHUGEINT"):
        return f"CAST({name} AS DECIMAL(38,0)) AS {name}"
    if column.type in _AS_TEXT:
        return f"CAST({name} AS VARCHAR) AS {name}"
    return name


def _delimiter(sink: SinkOutput) -> str:
    return sink.options.get("delimiter", ",")


def _header(sink: SinkOutput, columns: Sequence[Field]) -> str:
    if sink.format != "csv" or sink.options.get("header", "true") != "true":
        return ""
    special = {*'"\r\n', _delimiter(sink)}
    names = [
        '"' + column.name.replace('"', '""') + '"' if special & set(column.name) else column.name
        for column in columns
        if column.name not in sink.partition_by
    ]
    return _delimiter(sink).join(names) + "\n"


def _csv_line(columns: Sequence[Field], delimiter: str) -> str:
    """One line: NULL is nothing, an empty string is quoted, and so is what would break the line."""
    cells = (_csv_cell(column, delimiter) for column in columns)
    return f" || {quote_text(delimiter)} || ".join(cells) + " || chr(10)"


def _csv_cell(column: Field, delimiter: str) -> str:
    text = f"CAST({quote_name(column.name)} AS VARCHAR)"
    if _HARMLESS.fullmatch(column.type) and delimiter in ",;|\t":
        return f"coalesce({text}, '')"
    breaks = " OR ".join(f"contains({text}, chr({ord(c)}))" for c in '"\r\n' + delimiter)
    quoted = f"'\"' || replace({text}, '\"', '\"\"') || '\"'"
    return (
        f"CASE WHEN {text} IS NULL THEN '' "
        f"WHEN {text} = '' OR {breaks} THEN {quoted} ELSE {text} END"
    )
