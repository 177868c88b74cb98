"""Polars, lazy and on its streaming engine: SQL by its own SQLContext."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import polars as pl
import pyarrow as pa

from benchmarks.contestants.setup import Ask, NotExpressed, Question, Setup


@contextlib.contextmanager
def enter(setup: Setup) -> Iterator[Ask]:
    frames = {table: pl.scan_parquet(setup.parquet_paths(table)) for table in setup.tables}
    context = pl.SQLContext(frames)

    def ask(question: Question) -> pa.Table:
        try:
            frame = context.execute(question.sql)
        except pl.exceptions.SQLInterfaceError as error:
            raise NotExpressed(str(error)) from None
        return frame.collect(engine="streaming").to_arrow()

    yield ask
