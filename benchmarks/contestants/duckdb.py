"""DuckDB in its own process: our kernel without us."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import duckdb
import pyarrow as pa

from benchmarks.contestants.setup import Ask, Question, Setup


@contextlib.contextmanager
def enter(setup: Setup) -> Iterator[Ask]:
    config: dict[str, object] = {"threads": setup.threads, "temp_directory": setup.scratch}
    if setup.memory_bytes:
        config["memory_limit"] = f"{setup.memory_bytes} bytes"
    with duckdb.connect(config=config) as connection:
        connection.sql("SET enable_progress_bar = false")
        for table in setup.tables:
            connection.read_parquet(setup.parquet_paths(table)).create_view(table)

        def ask(question: Question) -> pa.Table:
            return connection.sql(question.sql).to_arrow_table()

        yield ask
