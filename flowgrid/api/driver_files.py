"""Files on a file system that only this process has (``memory://``): the driver writes them itself."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import quote

import fsspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

from flowgrid.ids import AttemptId
from flowgrid.io.arrow_types import plain_schema, to_plain
from flowgrid.io.commit import abort, attempt_folder, commit, prepare
from flowgrid.logical.nodes import Write
from flowgrid.protocol.reports import WrittenFile

if TYPE_CHECKING:
    from flowgrid.api.engine import Engine

_ATTEMPT = AttemptId(0, 0, 0, 0)
"""As far as the commit is concerned the driver is the only attempt of the only task."""


def write_here(engine: Engine, plan: Write) -> int:
    """Run the plan below `plan`, write its rows in this process and publish them; how many."""
    staging = prepare(plan.path, plan.mode)
    try:
        with engine.run(plan.input) as result:
            batches = [to_plain(batch) for batch in result.batches()]
            table = pa.Table.from_batches(batches, plain_schema(result.schema))
        commit(staging, _write_files(table, plan, staging.url), plan.mode)
        return int(table.num_rows)
    except BaseException:
        abort(staging)
        raise


def _write_files(
    table: pa.Table, plan: Write, staging_url: str
) -> list[tuple[AttemptId, WrittenFile]]:
    """One file per partition value, in the folder of the one attempt."""
    filesystem, root = fsspec.core.url_to_fs(posixpath.join(staging_url, attempt_folder(_ATTEMPT)))
    written = []
    for directory, part in _parts(table, plan.partition_by):
        path = posixpath.join(directory, f"part-00000-0.{plan.format}")
        filesystem.makedirs(posixpath.join(root, directory), exist_ok=True)
        with filesystem.open(posixpath.join(root, path), "wb") as file:
            _write(part, plan.format, dict(plan.options), file)
        size = int(filesystem.size(posixpath.join(root, path)))
        written.append((_ATTEMPT, WrittenFile(path, part.num_rows, size)))
    return written


def _parts(table: pa.Table, keys: tuple[str, ...]) -> Iterator[tuple[str, pa.Table]]:
    if not keys:
        yield "", table
        return
    payload = [name for name in table.column_names if name not in keys]
    for values in table.group_by(list(keys)).aggregate([]).to_pylist():
        mask = None
        for name in keys:
            column, value = table[name], values[name]
            same = (
                column.is_null()
                if value is None
                else pc.equal(column, pa.scalar(value, column.type))
            )
            mask = same if mask is None else pc.and_(mask, same)
        directory = "/".join(f"{quote(name, safe='')}={_directory(values[name])}" for name in keys)
        yield directory, table.filter(mask).select(payload)


def _directory(value: object) -> str:
    return "__HIVE_DEFAULT_PARTITION__" if value is None else quote(str(value), safe="")


def _write(table: pa.Table, format: str, options: dict[str, str], file: IO[bytes]) -> None:
    match format:
        case "parquet":
            rows = options.get("row_group_rows")
            compression = options.get("compression", "zstd")
            pq.write_table(table, file, int(rows) if rows else None, compression=compression)
        case "ipc":
            write_options = pa.ipc.IpcWriteOptions(compression=options.get("compression"))
            with pa.ipc.new_file(file, table.schema, options=write_options) as writer:
                writer.write_table(table)
        case "csv":
            write_options = pyarrow.csv.WriteOptions(
                include_header=options.get("header", "true") == "true",
                delimiter=options.get("delimiter", ","),
                quoting_style="needed",
            )
            pyarrow.csv.write_csv(table, file, write_options)
        case "json":
            file.writelines(_json_line(row) for row in table.to_pylist())


def _json_line(row: dict[str, Any]) -> bytes:
    return json.dumps(row, default=str, ensure_ascii=False).encode() + b"\n"
