"""Joins of every kind, by broadcast and by hash, give the kernel's pairs."""

from __future__ import annotations

import pytest

import flowgrid as fg
from flowgrid import col
from flowgrid.api.dataframe import DataFrame, How
from flowgrid.api.session import Session
from tests.physical.conftest import Agree

COVERS = ["meetings"]

KINDS: list[How] = ["inner", "left", "right", "full", "semi", "anti"]


@pytest.mark.parametrize("force", [True, False])
@pytest.mark.parametrize("how", KINDS)
def test_every_kind_of_join(
    agree: Agree, sales: DataFrame, shops: DataFrame, how: How, force: bool
) -> None:
    on = col("shop") == col("number")
    agree(sales.join(shops, on=on, how=how).node, planner__force_exchanges=force)
    agree(shops.join(sales, on=col("number") == col("shop"), how=how).node)


@pytest.mark.parametrize("how", KINDS)
def test_the_rest_of_a_condition_still_counts(
    agree: Agree, sales: DataFrame, shops: DataFrame, how: How
) -> None:
    on = (col("shop") == col("number")) & (col("price") > 100) & (col("town") != "town 3")
    agree(sales.join(shops, on=on, how=how).node, planner__force_exchanges=True)


@pytest.mark.parametrize("how", KINDS)
def test_a_join_without_an_equality(agree: Agree, sales: DataFrame, how: How) -> None:
    few = sales.filter("id < 300").select(fg.col("id").alias("a"), fg.col("price").alias("p"))
    other = sales.filter("id % 100 = 0").select(fg.col("id").alias("b"), fg.col("price").alias("q"))
    agree(few.join(other, on=col("p") < col("q"), how=how).node)


def test_null_equals_null_only_where_the_query_says_so(
    agree: Agree, sales: DataFrame, shops: DataFrame
) -> None:
    frame = sales.join(shops, on="shop IS NOT DISTINCT FROM number", how="inner")
    agree(frame.node, planner__force_exchanges=True)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("INTEGER", "BIGINT"), ("UTINYINT", "HUGEINT"), ("INTEGER", "DOUBLE"), ("FLOAT", "DOUBLE"),
        ("DECIMAL(10,2)", "BIGINT"), ("DECIMAL(10,2)", "DECIMAL(18,4)"), ("DECIMAL(10,1)", "DOUBLE"),
        ("VARCHAR", "VARCHAR"), ("VARCHAR", "BIGINT"), ("DATE", "TIMESTAMP"),
    ],
)  # fmt: skip
def test_keys_of_different_types_meet_if_the_kernel_calls_them_equal(
    agree: Agree, session: Session, left: str, right: str
) -> None:
    value = "DATE '2020-01-01' + (id % 100)::INTEGER" if left == "DATE" else "id % 100"
    one = session.range(3_000).select(f"({value})::{left} AS a")
    other = session.range(500).select(f"({value})::{right} AS b", "id")
    agree(
        one.join(other, on=col("a") == col("b"), how="inner").node,
        planner__force_exchanges=True,
    )


def test_a_small_side_goes_to_the_large_one_by_its_real_size(
    agree: Agree, session: Session
) -> None:
    large = session.range(2_000_000).select(col("id").alias("l"))
    # The guess is that one row in many passes; in truth ten rows do.
    small = session.range(2_000_000).filter("id * 7919 % 2000000 < 10").select(col("id").alias("s"))

    run = agree(large.join(small, on=col("l") == col("s")).node)

    assert "Broadcast stage" in run.stages
    assert "hash(l)" not in run.stages.lower(), "the large side stays where it is"


def test_joins_on_the_same_key_need_one_exchange_per_input(agree: Agree, sales: DataFrame) -> None:
    keys = sales.select(col("id").alias("k"))
    more = sales.select(col("id").alias("m"), col("price").alias("q"))
    frame = sales.join(keys, on=col("id") == col("k")).join(more, on=col("k") == col("m"))
    counted = frame.group_by("id").agg(fg.sum("q").alias("s"))

    run = agree(counted.node, planner__force_exchanges=True)

    assert sum("× " in line for line in run.stages.splitlines()) == 3, run.stages


@pytest.mark.parametrize("how", KINDS[-2:])
def test_of_rows_that_only_have_to_be_there_each_travels_once(
    agree: Agree, sales: DataFrame, shops: DataFrame, how: How
) -> None:
    asked = sales.select(asked=col("shop"))
    frame = shops.join(asked, left_on="number", right_on="asked", how=how)

    run = agree(frame.node, planner__force_exchanges=True)

    (once,) = (text for text in run.stages.split("stage ") if "Distinct" in text)
    assert run.statistics[int(once.split()[0])].total_rows < 10_000, "of 30,000, 1,000 in each task"
