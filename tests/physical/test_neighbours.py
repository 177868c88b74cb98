"""Windows over all rows that look a few rows around are computed in parts, across the seams too."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowgrid.expr.tree import parse
from flowgrid.physical.neighbours import Reach, group_of, reach_of
from tests.physical.test_running_totals import compare, rows
from tests.stage_runner import StageRunner

FORCED: dict[str, object] = {"planner.force_exchanges": True, "planner.partitions": 7}

WINDOWS = [
    "lag(v) OVER (ORDER BY n)",
    "lag(v, 3, -1) OVER (ORDER BY n), lead(s, 2) OVER (ORDER BY n)",
    "lead(d, 4, d) OVER (ORDER BY n DESC NULLS FIRST)",
    "v - lag(v) OVER (ORDER BY abs(n - 1500), n)",
    "sum(v) OVER (ORDER BY n ROWS BETWEEN 3 PRECEDING AND 1 FOLLOWING)",
    "max(s) OVER (ORDER BY n ROWS 2 PRECEDING)",
    "count(*) OVER (ORDER BY k, n ROWS BETWEEN CURRENT ROW AND 5 FOLLOWING)",
    "count(*) FILTER (WHERE v > 0) OVER (ORDER BY n ROWS BETWEEN 4 PRECEDING AND 2 PRECEDING)",
    "first_value(v) OVER (ORDER BY n ROWS BETWEEN 1 FOLLOWING AND 3 FOLLOWING)",
    "nth_value(s, 2) OVER (ORDER BY n ROWS BETWEEN 9 PRECEDING AND CURRENT ROW)",
    "list(v) OVER (ORDER BY n ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING)",
    "lag(v) OVER (ORDER BY n), sum(v) OVER (ORDER BY n), lag(v) OVER (PARTITION BY k ORDER BY n)",
]


@pytest.mark.parametrize("window", WINDOWS)
def test_every_row_sees_its_neighbours(tmp_path: Path, seed: int, window: str) -> None:
    runner = StageRunner(tmp_path, 4, FORCED, partition_bytes=20_000)
    compare(f"SELECT n, {window} FROM given", rows(seed), runner)
    assert "gathered to one task" not in runner.stages
    assert "range(" in runner.stages


@pytest.mark.parametrize("count", [0, 1, 2, 9, 40])
def test_a_reach_over_several_ranges(tmp_path: Path, seed: int, count: int) -> None:
    """Ranges shorter than the reach: what is looked for lies behind the neighbour."""
    runner = StageRunner(tmp_path, 4, FORCED, partition_bytes=60)
    text = "SELECT n, lag(n, 12) OVER (ORDER BY n), lead(n, 12, 0) OVER (ORDER BY n) FROM given"
    compare(text, rows(seed).slice(0, count), runner)


def test_rows_that_tie_have_one_sequence(tmp_path: Path, seed: int) -> None:
    """Everybody but the first has a row before, and nobody has one that somebody else has."""
    text = (
        "SELECT count(DISTINCT n) AS rows, count(DISTINCT p) AS before, count(*) AS total FROM "
        "(SELECT n, lag(n) OVER (ORDER BY k) AS p FROM given)"
    )
    compare(text, rows(seed), StageRunner(tmp_path, 4, FORCED, partition_bytes=20_000))


def test_few_rows_are_one_task(tmp_path: Path, seed: int) -> None:
    runner = StageRunner(tmp_path, 3, partition_bytes=20_000)
    compare("SELECT n, lag(n) OVER (ORDER BY n) FROM given", rows(seed), runner)
    assert "range(" not in runner.stages


@pytest.mark.parametrize(
    ("window", "reach"),
    [
        ("lag(a, 2) OVER (ORDER BY b)", Reach(2, 0)),
        ("lead(a) OVER (ORDER BY b)", Reach(0, 1)),
        ("sum(a) OVER (ORDER BY b ROWS BETWEEN 3 PRECEDING AND 1 PRECEDING)", Reach(3, 0)),
        ("lag(a, b) OVER (ORDER BY b)", None),
        ("lag(a) OVER (PARTITION BY a ORDER BY b)", None),
        ("lag(a, 100000) OVER (ORDER BY b)", None),
        ("lag(a IGNORE NULLS) OVER (ORDER BY b)", None),
        ("sum(a) OVER (ORDER BY b RANGE BETWEEN 3 PRECEDING AND CURRENT ROW)", None),
        ("sum(a) OVER (ORDER BY b ROWS BETWEEN 3 PRECEDING AND 1 FOLLOWING EXCLUDE TIES)", None),
        ("sum(a) OVER (ORDER BY b ROWS BETWEEN UNBOUNDED PRECEDING AND 1 FOLLOWING)", None),
        ("sum(random()) OVER (ORDER BY b ROWS 1 PRECEDING)", None),
        ("ntile(4) OVER (ORDER BY b)", None),
    ],
)
def test_a_reach_is_a_number_of_rows(window: str, reach: Reach | None) -> None:
    assert reach_of(parse(window)) == reach
    assert (group_of(parse(window)) != ()) == (reach is not None)
