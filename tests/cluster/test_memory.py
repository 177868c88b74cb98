"""What needs more memory than there is: right all the same, or failed by name; inside of the limit."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import flowgrid as fg
from benchmarks.tree_watch import TreeWatch
from flowgrid import errors
from flowgrid.config import MIB
from tests.cluster.census import Premises

pytestmark = pytest.mark.xdist_group("memory")

LIMIT_MIB = 256
TOLERANCE = 1.10

SCHEMA = pa.schema({"n": pa.int64()})

Function = Callable[[pa.RecordBatch], pa.RecordBatch]


@pytest.fixture(scope="module")
def session(shared_premises: Premises) -> Iterator[fg.Session]:
    with fg.connect(f"local-cluster[1,2,{LIMIT_MIB}]") as opened:
        yield opened


@pytest.fixture(autouse=True)
def limit(session: fg.Session) -> Iterator[None]:
    """After each test the next job is served, and the executor never used more than it may."""
    with TreeWatch(os.getpid(), below="flowgrid_executor") as watch:
        yield
        assert session.range(1_000).count() == 1_000
    assert watch.bytes_max <= LIMIT_MIB * MIB * TOLERANCE, f"{watch.bytes_max / MIB:.0f} MiB"


@pytest.mark.parametrize(
    ("sql", "answer"),
    [
        pytest.param(
            "SELECT count(*) AS n, sum(length(v)) AS m"
            " FROM (SELECT 1 AS k, md5(range::VARCHAR) AS v FROM range(1500000)) AS a"
            " JOIN (SELECT 1 AS k FROM range(2)) AS b USING (k)",
            {"n": 3_000_000, "m": 96_000_000},
            id="join",
        ),
        pytest.param(
            "SELECT k AS n, count(DISTINCT v) AS m"
            " FROM (SELECT 1 AS k, md5(range::VARCHAR) AS v FROM range(1500000)) GROUP BY k",
            {"n": 1, "m": 1_500_000},
            id="aggregate",
        ),
        pytest.param(
            "SELECT max(r) AS n, max(t) AS m FROM ("
            " SELECT rank() OVER (PARTITION BY k ORDER BY v) AS r,"
            " sum(range) OVER (PARTITION BY k ORDER BY v) AS t"
            " FROM (SELECT 1 AS k, range, md5(range::VARCHAR) AS v FROM range(1500000)))",
            {"n": 1_500_000, "m": 1_500_000 * 1_499_999 // 2},
            id="window",
        ),
    ],
)
def test_one_giant_key_is_no_wall(session: fg.Session, sql: str, answer: dict[str, int]) -> None:
    assert session.sql(sql).to_pylist() == [answer]


def test_a_sort_of_many_times_the_memory_is_complete_and_in_order(session: fg.Session) -> None:
    rows, last = 0, ""
    frame = session.sql(
        "SELECT md5(range::VARCHAR) || repeat('x', 468) AS v FROM range(1500000) ORDER BY v"
    )
    for batch in frame.iter_batches():
        texts = batch.column(0)
        assert last <= texts[0].as_py()
        assert pc.all(pc.less_equal(texts.slice(0, len(texts) - 1), texts.slice(1))).as_py()
        rows, last = rows + len(texts), texts[-1].as_py()
    assert rows == 1_500_000


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT len(list(md5(range::VARCHAR))) AS n FROM range(4000000)",
        "SELECT length(string_agg(md5(range::VARCHAR), ',')) AS n FROM range(4000000)",
        "SELECT length(repeat('x', 300000000)) AS n FROM range(1)",
        "SELECT repeat('x', 300000000 + range) AS n FROM range(1)",
    ],
)
def test_what_cannot_be_spilled_fails_by_name(session: fg.Session, sql: str) -> None:
    with pytest.raises(errors.OutOfMemoryError, match=r"alone .* give executors more memory"):
        session.sql(sql).collect()


_kept: list[np.ndarray] = []


def greedy(batch: pa.RecordBatch) -> pa.RecordBatch:
    taken = [np.ones(MIB) for _ in range(200)]  # 8 MiB each
    return batch.slice(0, len(taken)).rename_columns(["n"])


def absurd(batch: pa.RecordBatch) -> pa.RecordBatch:
    bytearray(1 << 40)
    return batch.rename_columns(["n"])


def has_a_greedy_child(batch: pa.RecordBatch) -> pa.RecordBatch:
    subprocess.run([sys.executable, "-c", f"len(b'1' * {600 * MIB}); input()"], check=False)
    return batch.rename_columns(["n"])


def leaks(batch: pa.RecordBatch) -> pa.RecordBatch:
    _kept.append(np.ones(2 * MIB))  # 16 MiB
    return batch.rename_columns(["n"])


def shares_with_children(batch: pa.RecordBatch) -> pa.RecordBatch:
    import multiprocessing
    import time

    shared = np.ones(2 * MIB)
    fork = multiprocessing.get_context("fork")
    children = [fork.Process(target=time.sleep, args=(0.2,)) for _ in range(8)]
    for child in children:
        child.start()
    for child in children:
        child.join()
    return batch.slice(0, len(shared)).rename_columns(["n"])


@pytest.mark.parametrize("function", [greedy, has_a_greedy_child])
def test_a_function_that_takes_too_much_is_ended_and_named(
    session: fg.Session, function: Function
) -> None:
    frame = session.range(100).map_batches(function, schema=SCHEMA)
    named = rf"the function {function.__name__} used .* alone .* give executors more"
    with pytest.raises(errors.OutOfMemoryError, match=named):
        frame.collect()


def test_a_function_that_asks_for_far_too_much_fails_at_its_own_line(session: fg.Session) -> None:
    with pytest.raises(
        errors.OutOfMemoryError, match="absurd ran out of memory in batch 0"
    ) as told:
        session.range(100).map_batches(absurd, schema=SCHEMA).collect()
    assert "bytearray(1 << 40)" in str(told.value)


def test_what_one_attempt_leaks_is_not_the_next_ones_loss(session: fg.Session) -> None:
    """Some 20 attempts in two slots: together they leak more than the executor has."""
    frame = session.range(20_000).repartition(20).map_batches(leaks, schema=SCHEMA)
    assert frame.agg(fg.sum("n").alias("n")).to_pylist() == [{"n": 20_000 * 19_999 // 2}]


def test_memory_that_a_function_shares_with_its_children_counts_once(session: fg.Session) -> None:
    frame = session.range(100).map_batches(shares_with_children, schema=SCHEMA)
    assert frame.count() == 100


def private_mib() -> float:
    with open("/proc/self/statm") as statm:
        _, resident, shared, *_ = map(int, statm.read().split())
    return (resident - shared) * os.sysconf("SC_PAGE_SIZE") / MIB


def test_a_slow_reader_of_a_large_result_holds_little_of_it(session: fg.Session) -> None:
    frame = session.sql("SELECT range AS n, repeat('x', 500) AS v FROM range(1500000)")
    before = most = private_mib()
    rows = 0
    for number, batch in enumerate(frame.iter_batches()):
        rows += batch.num_rows
        most = max(most, private_mib())
        if number % 10 == 0:
            assert session.range(10).count() == 10, "others are served meanwhile"
    assert rows == 1_500_000
    assert most - before < 100, "of 760 MiB"
