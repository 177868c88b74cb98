"""A Spark session, whoever answers it: Spark's own process or Sail's."""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from benchmarks.contestants.setup import Ask, Question, Setup


def register(session: Any, setup: Setup) -> None:
    for table in setup.tables:
        session.read.parquet(*setup.parquet_paths(table)).createOrReplaceTempView(table)


def asking(session: Any) -> Ask:
    def ask(question: Question) -> pa.Table:
        return session.sql(question.sql).toArrow()

    return ask
