"""Daft on its native runner."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import daft
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.contestants.setup import Ask, NotExpressed, Question, Setup


@contextlib.contextmanager
def enter(setup: Setup) -> Iterator[Ask]:
    daft.set_runner_native(num_threads=setup.threads)
    frames = {
        table: daft.read_parquet(
            [_without_views(Path(path)) for path in setup.parquet_paths(table)]
        )
        for table in setup.tables
    }

    def ask(question: Question) -> pa.Table:
        try:
            frame = daft.sql(question.sql, register_globals=False, **frames)
        except Exception as error:
            if type(error).__name__ == "InvalidSQLException":  # it can be raised, but not imported
                raise NotExpressed(str(error)) from None
            raise
        return frame.to_arrow()

    yield ask


def _without_views(path: Path) -> str:
    """The file, or a copy of it whose texts are no string views: Daft does not read these.

    Copies are made once, in a folder beside the data's: they are no part of what a query costs.
    """
    schema = pq.read_schema(path)
    if not any(pa.types.is_string_view(field.type) for field in schema):
        return str(path)
    copies = path.parent.with_name(f"{path.parent.name}-without-views")
    copies.mkdir(exist_ok=True)
    copy = copies / path.name
    if not copy.exists():
        making = copies / f"making-{os.getpid()}-{path.name}"
        _copy_without_views(path, schema, making)
        making.rename(copy)
    return str(copy)


def _copy_without_views(path: Path, schema: pa.Schema, copy: Path) -> None:
    plain = pa.schema(
        [
            field.with_type(pa.string()) if pa.types.is_string_view(field.type) else field
            for field in schema
        ]
    )
    source = pq.ParquetFile(path)
    with pq.ParquetWriter(copy, plain) as sink:
        for group in range(source.num_row_groups):
            sink.write_table(source.read_row_group(group).cast(plain))
