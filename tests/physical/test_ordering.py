"""Order survives partitions: sorts by ranges, top-n, limits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowgrid.api.dataframe import DataFrame
from flowgrid.api.session import Session
from tests.physical.conftest import Agree


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("nulls_last", [True, False])
def test_a_sort_by_ranges_is_a_sort(
    agree: Agree, sales: DataFrame, force: bool, descending: bool, nulls_last: bool
) -> None:
    frame = sales.sort("shop", "price", "id", descending=descending, nulls_last=nulls_last)
    run = agree(frame.node, ordered=True, planner__force_exchanges=force)
    assert ("range(" in run.stages) == force


def test_ranges_hold_about_as_many_rows_each(agree: Agree, sales: DataFrame) -> None:
    run = agree(sales.sort("id").node, ordered=True, planner__force_exchanges=True)
    rows = run.statistics_of("range(").rows
    assert max(rows) < 2 * sum(rows) / len(rows), rows


@pytest.fixture
def readings(session: Session, tmp_path: Path, seed: int) -> DataFrame:
    """40,000 rows in two files: 900 kB of numbers, of which 700 kB are noise."""
    dice = np.random.default_rng(seed)
    for part in range(2):
        columns = {"level": dice.integers(-(2**62), 2**62, 20_000), "noise": dice.random(20_000)}
        columns["half"] = np.arange(20_000) % 2
        pq.write_table(pa.table(columns), tmp_path / f"{part}.parquet", row_group_size=5000)
    return session.read_parquet(str(tmp_path / "*.parquet"))


SMALL: dict[str, object] = {
    "planner__target_partition_bytes": 100_000,
    "planner__split_bytes": 100_000,
}


def test_files_are_read_again_for_a_sample_and_kept_nowhere(
    agree: Agree, readings: DataFrame
) -> None:
    run = agree(readings.sort("level").node, ordered=True, **SMALL)
    assert "kept" not in run.stages
    assert run.statistics_of("range(").total_rows == 40_000
    assert run.statistics_of("single").total_rows < 10_000


def test_ranges_are_read_as_one_until_a_task_has_enough(agree: Agree, readings: DataFrame) -> None:
    run = agree(readings.sort("level").node, ordered=True, **SMALL)
    targets = len(run.statistics_of("range(").bytes)
    tasks = run.specs[-1].partition_count
    assert run.statistics_of("range(").total_bytes / 100_000 <= tasks < targets


def test_a_filter_that_keeps_next_to_nothing_is_found_out_by_the_sample(
    agree: Agree, readings: DataFrame
) -> None:
    few = readings.filter("(level + noise)::VARCHAR LIKE '%77%77%77%77%'").sort("level")
    run = agree(few.node, ordered=True, **{**SMALL, "planner__target_partition_bytes": 20_000})
    assert "range(" not in run.stages
    assert "kept" not in run.stages


def test_what_is_costly_is_not_computed_twice(agree: Agree, readings: DataFrame) -> None:
    halves = readings.group_by("level", "noise").agg("sum(half) AS halves").sort("level", "noise")
    run = agree(halves.node, ordered=True, **SMALL)
    assert "kept" in run.stages


def test_one_value_everywhere_still_sorts(agree: Agree, sales: DataFrame) -> None:
    same = sales.select("1 AS one", "id")
    agree(same.sort("one").node, planner__force_exchanges=True)


def test_nothing_sorts_to_nothing(agree: Agree, sales: DataFrame) -> None:
    agree(sales.filter("id < 0").sort("id").node, planner__force_exchanges=True)


@pytest.mark.parametrize(("offset", "length"), [(0, 10), (7, 5), (29_990, 100), (0, 0)])
def test_a_top_n_is_taken_in_every_task_first(
    agree: Agree, sales: DataFrame, offset: int, length: int
) -> None:
    run = agree(sales.repartition(5).sort("price", "id").slice(offset, length).node, ordered=True)
    assert "range(" not in run.stages


def test_a_limit_takes_the_first_rows_in_partition_order(agree: Agree, sales: DataFrame) -> None:
    agree(sales.slice(100, 50).node, ordered=True)
    agree(sales.slice(29_000).node, ordered=True)


def test_a_limit_over_a_large_sort_by_ranges(agree: Agree, sales: DataFrame) -> None:
    frame = sales.sort("price", "id").slice(10)
    agree(frame.node, ordered=True, planner__force_exchanges=True)
