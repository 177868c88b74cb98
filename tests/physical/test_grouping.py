"""Aggregates, DISTINCT, windows and set operations where rows with equal keys meet."""

from __future__ import annotations

import pytest

import flowgrid as fg
from flowgrid import col
from flowgrid.api.dataframe import DataFrame
from flowgrid.api.session import Session
from flowgrid.logical.nodes import SetOperation
from flowgrid.optimizer.optimizer import bound_queries
from tests.physical.conftest import Agree

AGGREGATES = [
    "count(*)", "count(price)", "count_if(price > 100)", "sum(price)", "sum(id)", "min(kind)",
    "max(price)", "avg(price)", "avg(id)", "avg(id::DECIMAL(12,2))", "stddev(price)",
    "stddev_pop(id)", "var_samp(price)", "corr(price, id)", "covar_pop(price, id)",
    "regr_slope(price, id)", "skewness(price)", "bool_and(price > 0)", "bool_or(price > 250)",
    "bit_xor(id)", "arg_max(id, price * 100000 + id)", "approx_count_distinct(shop)",
    "median(price)", "quantile_cont(price, 0.9)", "mode(shop % 3)", "count(DISTINCT shop)",
    "sum(DISTINCT price)", "list(id ORDER BY id)", "string_agg(kind, ',' ORDER BY id)",
    "sum(price) FILTER (WHERE kind = 'a')", "avg(price) FILTER (WHERE kind = 'none')",
    "sum(price) / count(*) + max(id)", "histogram(id % 3)", "max(id, 2)",
    "percentile_cont(0.5) WITHIN GROUP (ORDER BY price)",
]  # fmt: skip


@pytest.mark.parametrize("aggregate", AGGREGATES)
def test_every_aggregate_in_parts_is_the_aggregate_of_the_whole(
    agree: Agree, sales: DataFrame, aggregate: str
) -> None:
    by_kind = sales.group_by("kind").agg(f"{aggregate} AS value")
    agree(by_kind.node)
    agree(sales.agg(f"{aggregate} AS value").node)


def test_few_groups_are_folded_before_rows_travel(agree: Agree, session: Session) -> None:
    frame = (
        session.range(2_000_000).group_by((col("id") % 5).alias("k")).agg(fg.sum("id").alias("s"))
    )

    run = agree(frame.node)

    assert "PartialAggregate SUM" in run.stages


def test_keys_may_be_constants_expressions_and_null(agree: Agree, sales: DataFrame) -> None:
    agree(sales.group_by("shop % 10 AS k", "1 AS one").agg("max(price) + (shop % 10) AS m").node)
    agree(sales.group_by("kind").agg().node)


def test_a_whole_frame_without_rows_still_has_one_answer(agree: Agree, sales: DataFrame) -> None:
    none = sales.filter("id < 0")
    agree(none.agg("count(*) AS n", "sum(price) AS s", "avg(price) AS a").node)
    agree(none.group_by("kind").agg("count(*) AS n").node)


def test_rows_that_met_once_need_not_meet_again(agree: Agree, sales: DataFrame) -> None:
    frame = sales.repartition(4, "shop").unique(["shop", "kind"]).group_by("shop").agg(fg.count())

    run = agree(frame.select("shop", "count").node)

    assert run.stages.count("hash(") == 1


def test_distinct_rows_and_distinct_keys(agree: Agree, sales: DataFrame) -> None:
    agree(sales.select("shop", "kind").unique().node)
    agree(sales.unique("shop").select("shop").node)


@pytest.mark.parametrize("force", [True, False])
def test_windows_run_where_their_partition_is(agree: Agree, sales: DataFrame, force: bool) -> None:
    frame = sales.with_columns(
        rank=fg.row_number().over("shop", order_by="id"),
        total=col("price").sum().over("shop"),
        of_kind=fg.count().over("kind"),
        everything=fg.max("price").over(),
    )
    agree(frame.node, planner__force_exchanges=force)


@pytest.mark.parametrize("operator", ["intersect", "except"])
@pytest.mark.parametrize("all_", [True, False])
def test_set_operations_compare_rows_in_their_common_types(
    agree: Agree, sales: DataFrame, operator: str, all_: bool
) -> None:
    left = sales.select("shop", "kind")
    right = sales.filter("id % 3 = 0").select(col("shop").cast("DOUBLE"), "kind")
    agree(SetOperation(left.node, right.node, operator, all_))


def test_grouping_sets_are_a_union_of_groupings(
    agree: Agree, session: Session, sales: DataFrame
) -> None:
    session.register("sales", sales)
    query = """
        SELECT kind, shop % 3 AS third, grouping(kind, shop % 3) AS g, sum(price) AS total
        FROM sales GROUP BY CUBE (kind, shop % 3)
    """
    run = agree(bound_queries(session.sql(query).node))
    assert "gathered" not in run.stages


def test_distinct_values_of_a_whole_frame_are_met_by_hash(agree: Agree, sales: DataFrame) -> None:
    frame = sales.filter("id % 2 = 0").agg(
        "count(DISTINCT shop) AS shops",
        "sum(DISTINCT price) + sum(DISTINCT shop % 10) AS mixed",
        "avg(price) AS mean",
        "count(*) AS n",
    )
    for force in (True, False):
        run = agree(frame.node, planner__force_exchanges=force)
        assert "gathered" not in run.stages
    filtered = sales.agg("count(DISTINCT shop) FILTER (WHERE price > 7) AS shops")
    assert "gathered" in agree(filtered.node, planner__force_exchanges=True).stages
