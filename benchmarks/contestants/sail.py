"""Sail: a server that speaks Spark Connect, in local mode, and Spark's thin client before it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from pysail.spark import SparkConnectServer
from pyspark.sql import SparkSession

from benchmarks.contestants import spark_session
from benchmarks.contestants.setup import Ask, Setup


@contextlib.contextmanager
def enter(setup: Setup) -> Iterator[Ask]:
    server = SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    try:
        _, port = server.listening_address
        session = SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate()
        spark_session.register(session, setup)
        yield spark_session.asking(session)
        session.stop()
    finally:
        server.stop()
