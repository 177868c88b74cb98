"""DataFusion: one process, as many partitions as threads."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pyarrow as pa
from datafusion import RuntimeEnvBuilder, SessionConfig, SessionContext

from benchmarks.contestants.setup import Ask, Question, Setup


@contextlib.contextmanager
def enter(setup: Setup) -> Iterator[Ask]:
    runtime = RuntimeEnvBuilder().with_disk_manager_specified(setup.scratch)
    if setup.memory_bytes:
        runtime = runtime.with_fair_spill_pool(setup.memory_bytes)
    config = SessionConfig().with_target_partitions(setup.threads).with_parquet_pruning(True)
    context = SessionContext(config, runtime)
    for table, path in setup.tables.items():
        context.register_parquet(table, path)

    def ask(question: Question) -> pa.Table:
        return context.sql(question.sql).to_arrow_table()

    yield ask
