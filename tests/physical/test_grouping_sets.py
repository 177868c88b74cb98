"""Sets of groups are made of one fold of the rows, and give what the kernel gives."""

from __future__ import annotations

import pytest

from flowgrid.api.dataframe import DataFrame
from flowgrid.api.session import Session
from flowgrid.logical.nodes import Aggregate
from flowgrid.logical.rendering import topological
from flowgrid.optimizer.optimizer import optimize
from flowgrid.physical.aggregation import PartialAggregate
from flowgrid.physical.grouping_sets import without_sets
from tests.physical.conftest import Agree

SETS = ["ROLLUP (shop, kind)", "CUBE (kind, shop)", "GROUPING SETS ((shop), (), (kind, shop), ())"]
CALLS = "sum(price) AS s, avg(price) AS a, stddev(id) AS d, count(*) AS n, max(id) - min(id) AS w"


@pytest.mark.parametrize("force", [False, True], ids=["by-size", "forced"])
@pytest.mark.parametrize("sets", SETS)
def test_every_set_has_the_kernels_groups(
    session: Session, sales: DataFrame, agree: Agree, sets: str, force: bool
) -> None:
    session.register("sales", sales)
    text = f"SELECT shop, kind, grouping(shop, kind) AS g, {CALLS} FROM sales GROUP BY {sets}"

    run = agree(optimize(session.sql(text).node), planner__force_exchanges=force)

    assert run.stages.count("Read stage 0") == 1, "the rows are read once"


def test_no_rows_are_one_group_of_the_empty_set(
    session: Session, sales: DataFrame, agree: Agree
) -> None:
    session.register("none", sales.filter("id < 0"))
    text = f"SELECT kind, {CALLS} FROM none GROUP BY ROLLUP (kind)"
    agree(optimize(session.sql(text).node), planner__force_exchanges=True)


def test_calls_that_cannot_be_folded_read_the_rows_for_every_set(
    session: Session, sales: DataFrame, agree: Agree
) -> None:
    session.register("sales", sales)
    text = (
        "SELECT shop, kind, median(price) AS m, count(*) AS n FROM sales GROUP BY CUBE (shop, kind)"
    )
    plan = optimize(session.sql(text).node)
    (aggregate,) = (node for node in topological(plan) if isinstance(node, Aggregate))

    assert not any(isinstance(n, PartialAggregate) for n in topological(without_sets(aggregate)))
    agree(plan)
