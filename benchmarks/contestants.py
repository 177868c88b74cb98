"""FlowGrid and its peers behind one face: each in a process of its own, asked one query at a time.

A process each keeps them from warming each other's caches or sharing a memory figure. They take
turns, so that only one of them computes at any moment. The clock runs inside the contestant, around
the query and the whole answer as an Arrow table.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import pyarrow as pa

from benchmarks.datasets import tables_in
from benchmarks.harness import core_count
from benchmarks.memory import PeakMemory

Query = Callable[[str], pa.Table]


@dataclass(frozen=True)
class Contestant:
    """`engine` is flowgrid or duckdb; `master` says where FlowGrid runs, `threads` how wide both do."""

    engine: str
    threads: int
    master: str = ""

    def __str__(self) -> str:
        return f"flowgrid {self.master}" if self.master else f"{self.engine} × {self.threads}"


@dataclass(frozen=True)
class Outcome:
    """One query, answered or not."""

    seconds: float
    answer: pa.Table | None
    error: str = ""


def threads_of(master: str) -> int:
    """The cores that a master string asks for."""
    if match := re.fullmatch(r"local-cluster\[(\d+),(\d+),\d+\]", master):
        return int(match[1]) * int(match[2])
    if match := re.fullmatch(r"local\[(\d+)\]", master):
        return int(match[1])
    return core_count()


class Seat:
    """A contestant that has started and waits for queries."""

    def __init__(self, contestant: Contestant, link: Connection, memory: PeakMemory) -> None:
        self.contestant = contestant
        self._link = link
        self._memory = memory

    def ask(self, sql: str) -> Outcome:
        self._link.send(sql)
        outcome: Outcome = self._link.recv()
        return outcome

    @property
    def memory_bytes_max(self) -> int:
        return self._memory.bytes_max


@contextlib.contextmanager
def seated(contestant: Contestant, data: Path) -> Iterator[Seat]:
    """Start a contestant over the tables in `data`; it ends with the block."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(contestant, data, theirs))
    process.start()
    theirs.close()
    try:
        ours.recv()  # it is ready, or it died and this raises EOFError
        with PeakMemory(process.pid or 0) as memory:
            yield Seat(contestant, ours, memory)
    finally:
        ours.close()
        process.join()


def _serve(contestant: Contestant, data: Path, link: Connection) -> None:
    enter = _flowgrid if contestant.engine == "flowgrid" else _duckdb
    with enter(contestant, data) as query, contextlib.suppress(EOFError):
        link.send("ready")
        while True:
            link.send(_timed(query, link.recv()))


def _timed(query: Query, sql: str) -> Outcome:
    start = time.perf_counter()
    try:
        answer = query(sql)
    except Exception as error:  # a query that fails is a result of the benchmark, not its end
        return Outcome(time.perf_counter() - start, None, f"{type(error).__name__}: {error}")
    return Outcome(time.perf_counter() - start, answer)


@contextlib.contextmanager
def _flowgrid(contestant: Contestant, data: Path) -> Iterator[Query]:
    import flowgrid as fg

    with fg.connect(contestant.master) as session:
        for table, path in tables_in(data).items():
            session.register(table, session.read_parquet(str(path)))
        yield lambda sql: session.sql(sql).collect()


@contextlib.contextmanager
def _duckdb(contestant: Contestant, data: Path) -> Iterator[Query]:
    import duckdb

    with duckdb.connect(config={"threads": contestant.threads}) as connection:
        connection.sql("SET enable_progress_bar = false")
        for table, path in tables_in(data).items():
            connection.sql(f"CREATE VIEW {table} AS FROM read_parquet('{path}')")
        yield lambda sql: connection.sql(sql).to_arrow_table()
