"""FlowGrid itself, on the master it was given."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator

import pyarrow as pa

import flowgrid as fg
from benchmarks.contestants.setup import Ask, Question, Setup


@contextlib.contextmanager
def enter(setup: Setup) -> Iterator[Ask]:
    conf: dict[str, object] = {"executor.local_dir": setup.scratch}
    if setup.memory_bytes:
        conf["executor.memory"] = setup.memory_bytes // _executor_count(setup.master)
    with fg.connect(setup.master, conf=conf) as session:
        for table in setup.tables:
            session.register(table, session.read_parquet(setup.parquet_paths(table)))

        def ask(question: Question) -> pa.Table:
            return session.sql(question.sql).collect()

        yield ask


def _executor_count(master: str) -> int:
    match = re.match(r"local-cluster\[(\d+)", master)
    return int(match[1]) if match else 1
