"""Each benchmark once at a tiny size, for real: what it checks is right, what it counts is there."""

from __future__ import annotations

import signal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

from benchmarks import groupby_join, recovery, shuffle, sorting, staircase, suite, tasks, wordcount
from benchmarks.datasets import tables_in
from benchmarks.recordings import Measurement, Recording
from benchmarks.seats import Contestant, Limits

pytestmark = pytest.mark.cluster

MASTER = "local-cluster[2,1,512]"


def all_right(measurements: list[Measurement]) -> None:
    assert measurements
    assert [m.verdict for m in measurements] == [""] * len(measurements)


def test_groupings_and_joins_agree_with_duckdb(tmp_path: Path) -> None:
    tables = groupby_join.tables(10_000, tmp_path)
    field = [Contestant("flowgrid", 2, MASTER), Contestant("duckdb", 2)]
    all_right(suite.run(tables, field, groupby_join.cases(), 1, Limits(60.0), Console(quiet=True)))


def test_records_are_sorted_and_none_is_lost(tmp_path: Path) -> None:
    measurement = sorting.run(20_000, MASTER, tmp_path)
    all_right([measurement])
    assert measurement.figures["sorted_bytes_per_s"] > 0


def test_a_pass_over_what_is_not_sorted_or_not_whole_says_so(tmp_path: Path) -> None:
    table = pa.table({"key": [b"a", b"c", b"b"], "payload": [b"x"] * 3}, sorting._schema())
    pq.write_table(table, tmp_path / "0.parquet")
    whole = sorting.contents_of(tmp_path)
    assert (whole.records, whole.falls) == (3, 1)
    pq.write_table(table.slice(0, 1), tmp_path / "1.parquet")
    assert sorting.contents_of(tmp_path).falls == 2, "also from one file to the next"
    assert sorting.contents_of(tmp_path).checksum != whole.checksum


def test_words_are_counted_as_plain_python_counts_them(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("a b a\nc a\n")
    all_right(wordcount.run(path, MASTER, 1))


def test_a_step_of_the_staircase_says_who_finished() -> None:
    ours, theirs = staircase.field_at(1024, 2, ["duckdb"])
    assert (ours.master, theirs.threads) == ("local-cluster[2,1,512]", 2)
    limit = {"limit_bytes": 1024.0 * (1 << 20)}
    measurements = [
        Measurement("Q1", "flowgrid", [1.0], memory_bytes_max=1 << 30, figures=limit),
        Measurement("Q1", "duckdb × 2", [0.0], "ended: over its memory limit", figures=limit),
        Measurement("Q1", "dask × 2", [0.0], "cannot", figures=limit),
    ]
    grid = staircase.grid(Recording("memory", {}, {"memory_mib": [1024]}, measurements))
    assert [row[1] for row in grid.rows] == ["1 of 1", "0 of 1", "—"]


def test_tasks_that_do_nothing_are_counted_end_to_end() -> None:
    # many ticks of the processor clock
    core, end_to_end, alone, shuffled = tasks.run(4_000, round_trips=3, shuffle_width=200)
    all_right([core, end_to_end, alone, shuffled])
    assert core.figures["tasks_in_one_second"] > 0
    assert end_to_end.figures["scheduler_CPU_s"] > 0
    assert len(alone.seconds) == 3
    assert shuffled.figures["scheduler_memory_bytes"] > shuffled.figures["before_bytes"]


def test_a_shuffle_gives_the_same_sums_and_says_where_the_time_went() -> None:
    measurements = shuffle.run(20_000, MASTER, 1)
    all_right(measurements)
    for profile in measurements[:2]:
        steps = ("out_of_the_kernel_s", "partition_s", "write_s", "read_s", "feed_s")
        parts = sum(profile.figures[step] for step in steps)
        assert parts - profile.figures["without_exchange_s"] == pytest.approx(profile.seconds[0])


def test_losing_an_executor_half_way_costs_time_and_no_rows(tpch_data: Path) -> None:
    conf = {"planner.force_exchanges": "true", "planner.split_bytes": "256k"}
    tables = tables_in(tpch_data)
    measurement = recovery.run_query(tables, 9, conf, 1)
    # A job this small is over before its loss is noticed: what that costs says nothing of larger ones.
    assert not measurement.verdict.startswith("wrong")
    assert measurement.figures["lost_work_s"] > 0
    assert measurement.figures["needless_attempts"] == 0


def test_a_killed_executor_is_missed() -> None:
    assert 0 < recovery.noticed(signal.SIGKILL) < recovery.NOTICE_TIMEOUT_S
