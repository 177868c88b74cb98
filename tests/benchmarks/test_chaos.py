"""The chaos that the benchmark makes is survived, and what must not be would be seen."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import pytest

from benchmarks import chaos
from benchmarks.answers import AnswersDiffer
from benchmarks.chaos_driver import share_sql, what_is_there

COVERS = ["chaos_driver"]

SECONDS = 5.0


@pytest.mark.cluster
def test_a_few_seconds_of_chaos_leave_right_answers_and_nothing_else(tpch_data: Path) -> None:
    seed = 4711
    said: list[str] = []
    tally = chaos.run(tpch_data, SECONDS, seed, tuple(chaos.WEIGHTS), 2.0, said.append)
    assert tally.jobs.total() > 0
    assert not tally.problems.total(), (seed, said, tally.lines())


@pytest.fixture
def lineitem(tmp_path: Path) -> str:
    """As SQL; the data is in `tmp_path` / data."""
    path = tmp_path / "data" / "lineitem.parquet"
    path.parent.mkdir()
    rows = "range AS l_orderkey, 1 AS l_linenumber, 1.5 * range AS l_extendedprice FROM range(100)"
    duckdb.sql(f"COPY (SELECT {rows}) TO '{path}'")
    return f"read_parquet('{path}')"


def publish(output: Path, lineitem: str, *shares: int) -> None:
    output.mkdir()
    for share in shares:
        duckdb.sql(f"COPY ({share_sql(lineitem, share)}) TO '{output}/{share}.parquet'")


def test_a_share_that_is_there_is_recognised(tmp_path: Path, lineitem: str) -> None:
    assert what_is_there(tmp_path / "nothing", tmp_path / "data") is None
    publish(tmp_path / "out", lineitem, 3)
    assert what_is_there(tmp_path / "out", tmp_path / "data") == 3


def test_old_and_new_at_once_are_a_wrong_answer(tmp_path: Path, lineitem: str) -> None:
    publish(tmp_path / "out", lineitem, 3, 4)
    with pytest.raises(AnswersDiffer):
        what_is_there(tmp_path / "out", tmp_path / "data")


def test_a_problem_is_counted_and_shown() -> None:
    tally = chaos.Tally(tasks=100, attempts=110)
    assert not tally.problems.total()
    tally.problems["litter"] += 1
    assert tally.problems.total() == 1
    assert any(line.split() == ["litter", "1"] for line in tally.lines())
    assert tally.rework_percent == pytest.approx(10)
    assert json.loads(json.dumps(tally.figures()))["problems"]["litter"] == 1
