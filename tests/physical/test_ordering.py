"""Order survives partitions: sorts by ranges, top-n, limits."""

from __future__ import annotations

import pytest

from flowgrid.api.dataframe import DataFrame
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
