"""Windows over all rows are computed in parts, and every row has the kernel's own value."""

from __future__ import annotations

import math
import random
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from flowgrid.api.reading import from_arrow
from flowgrid.api.sql import bind
from flowgrid.expr.tree import parse
from flowgrid.optimizer.optimizer import optimize
from flowgrid.physical.running_totals import group_of
from tests.stage_runner import StageRunner

IN_ORDER = [
    "row_number() OVER (ORDER BY n)",
    "rank() OVER (ORDER BY k DESC NULLS FIRST)",
    "dense_rank() OVER (ORDER BY k, s)",
    "count(*) OVER (ORDER BY k)",
    "count(v) FILTER (WHERE n % 3 = 0) OVER (ORDER BY k)",
    "sum(v) OVER (ORDER BY n ROWS BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW)",
    "sum(v) OVER w - min(v) OVER w FROM given WINDOW w AS (ORDER BY n ROWS UNBOUNDED PRECEDING) --",
    "sum(d) OVER (ORDER BY n DESC), min(s) OVER (ORDER BY n DESC), max(v) OVER (ORDER BY n DESC)",
    "sum(v) OVER (ORDER BY abs(n - 1500), s), rank() OVER (ORDER BY abs(n - 1500), s)",
    "round(avg(v) OVER (ORDER BY n), 9), round(avg(d) OVER (ORDER BY n), 9)",
    "round(avg(v) FILTER (WHERE n % 3 = 0) OVER (ORDER BY k), 9)",
    "sum(v) OVER (ORDER BY n), rank() OVER (ORDER BY k), sum(v) OVER (PARTITION BY k)",
]

IN_ALL = [
    "count(*) OVER ()",
    "sum(v) OVER (), max(s) OVER (), v * 100 / sum(v) FILTER (WHERE v > 0) OVER ()",
]

GATHERED = [
    "sum(v) OVER (ORDER BY n RANGE BETWEEN 1 PRECEDING AND CURRENT ROW)",
    "lag(v IGNORE NULLS) OVER (ORDER BY n)",
    "ntile(4) OVER (ORDER BY n)",
    "count(DISTINCT v) OVER (ORDER BY n)",
    "median(v) OVER ()",
]


def rows(seed: int) -> pa.Table:
    dice = random.Random(seed)
    numbers = list(range(3_000))
    dice.shuffle(numbers)
    return pa.table(
        {
            "n": numbers,
            "k": [dice.choice([*range(20), None]) for _ in numbers],
            "v": pa.array(
                [dice.choice([dice.randrange(-99, 99), None]) for _ in numbers], pa.int32()
            ),
            "d": pa.array([dice.randrange(10**6) for _ in numbers], pa.int64()).cast(
                pa.decimal128(24, 2)
            ),
            "s": [dice.choice(["x", "é", "", None]) for _ in numbers],
        }
    )


def compare(text: str, given: pa.Table, runner: StageRunner) -> None:
    plan = bind(text, {"given": from_arrow(given)}).bound
    assert plan is not None
    found = runner.run(optimize(plan))
    with duckdb.connect() as kernel:
        expected = kernel.sql(text).to_arrow_table()
    for mine, theirs in zip(values(found), values(expected), strict=True):
        assert all(map(alike, mine, theirs)), (mine, theirs)


def alike(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-12, abs_tol=1e-12)
    return one == other


def values(table: pa.Table) -> list[list[object]]:
    """Rows in one order; whole numbers alike, whatever type carries them. Sums of floats in parts have
    another last digit, so floats say nothing of the order."""
    found = [list(row.values()) for row in table.to_pylist()]
    found.sort(key=lambda row: repr([None if isinstance(v, float) else v for v in row]))
    return [
        [float(v) if isinstance(v, int) or hasattr(v, "as_tuple") else v for v in row]
        for row in found
    ]


@pytest.mark.parametrize("window", [*IN_ORDER, *IN_ALL])
def test_every_row_has_the_kernels_value(tmp_path: Path, seed: int, window: str) -> None:
    runner = StageRunner(tmp_path, 4, {"planner.force_exchanges": True}, partition_bytes=20_000)
    compare(f"SELECT n, {window} FROM given", rows(seed), runner)
    assert "gathered to one task" not in runner.stages
    assert ("range(" in runner.stages) == (window in IN_ORDER)


@pytest.mark.parametrize("window", GATHERED)
def test_what_has_no_parts_is_gathered_and_says_so(tmp_path: Path, seed: int, window: str) -> None:
    runner = StageRunner(tmp_path, 2, {"planner.force_exchanges": True}, partition_bytes=20_000)
    compare(f"SELECT n, {window} FROM given", rows(seed), runner)
    assert "has no PARTITION BY" in runner.stages


def test_a_rank_of_groups_is_filtered_where_it_is(tmp_path: Path, seed: int) -> None:
    text = (
        "SELECT k, sum(v) AS t, rank() OVER (ORDER BY sum(v) DESC) AS r FROM given GROUP BY k "
        "QUALIFY r <= 3"
    )
    runner = StageRunner(tmp_path, 3, {"planner.force_exchanges": True}, partition_bytes=20_000)
    compare(text, rows(seed), runner)


def test_rows_that_are_few_are_numbered_in_one_task(tmp_path: Path, seed: int) -> None:
    runner = StageRunner(tmp_path, 3, partition_bytes=20_000)
    compare("SELECT n, row_number() OVER (ORDER BY n) FROM given", rows(seed), runner)
    assert "range(" not in runner.stages
    assert "gathered" not in runner.stages


def test_no_rows_have_no_numbers(tmp_path: Path) -> None:
    runner = StageRunner(tmp_path, 3, {"planner.force_exchanges": True})
    compare("SELECT n, sum(v) OVER (ORDER BY n) FROM given", rows(0).slice(0, 0), runner)


def test_only_windows_of_one_order_go_together() -> None:
    same = [parse(f"sum(a) OVER (ORDER BY {order})") for order in ("b", "b", "b DESC")]
    groups = [group_of(one) for one in same]
    assert groups[0] == groups[1] != groups[2]
    assert group_of(parse("sum(a) OVER (ORDER BY b) + 1")) == ()
    assert group_of(parse("sum(random()) OVER (ORDER BY b)")) == ()
