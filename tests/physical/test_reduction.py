"""Keys of few rows go down the other side of their join: less is folded, and the answer is the same."""

from __future__ import annotations

import pytest

import flowgrid as fg
from flowgrid import col
from flowgrid.api.dataframe import DataFrame, How
from flowgrid.api.session import Session
from flowgrid.optimizer.optimizer import optimize
from tests.physical.conftest import Agree
from tests.stage_runner import StageRunner

SPREAD = {"planner__target_partition_bytes": 20_000}
EARLY = {**SPREAD, "planner__reduce_bytes_min": 0}


@pytest.fixture
def few(session: Session) -> DataFrame:
    """Five of the thousand shops."""
    return session.range(5).select((col("id") * 200 + 3).alias("number"))


@pytest.fixture
def totals(sales: DataFrame) -> DataFrame:
    return sales.group_by("shop").agg(fg.sum("price").alias("total"), fg.count().alias("sold"))


def folded_rows(run: StageRunner) -> int:
    """Rows of the folds that went to meet each other."""
    return run.statistics_of('hash("#k0")').total_rows


def test_only_groups_with_a_partner_are_folded(
    agree: Agree, totals: DataFrame, few: DataFrame
) -> None:
    frame = totals.join(few, on=col("shop") == col("number"))
    assert folded_rows(agree(frame.node, **EARLY)) < 50
    assert folded_rows(agree(frame.node, **SPREAD)) > 900


@pytest.mark.parametrize("how", ["inner", "left", "right", "full", "semi", "anti"])
def test_every_kind_of_join_keeps_what_it_must(
    agree: Agree, totals: DataFrame, few: DataFrame, how: How
) -> None:
    agree(few.join(totals, on=col("number") == col("shop"), how=how).node, **EARLY)
    agree(totals.join(few, on=col("shop") == col("number"), how=how).node, **EARLY)


def test_keys_are_followed_through_names_filters_joins_and_distinct_rows(
    agree: Agree, session: Session, sales: DataFrame, shops: DataFrame, few: DataFrame
) -> None:
    for name, frame in (("sales", sales), ("shops", shops), ("few", few)):
        session.register(name, frame)
    text = """
        SELECT number, best FROM few JOIN (
            SELECT s + 0 AS t, max(p) AS best FROM (
                SELECT DISTINCT shop AS s, price AS p FROM sales JOIN shops ON shop = shops.number
                WHERE kind <> 'b') WHERE p > 3 GROUP BY s
        ) ON t = number"""
    run = agree(optimize(session.sql(text).node), **EARLY)
    assert "IS NOT DISTINCT FROM" in run.stages


def test_a_partner_without_a_key_finds_the_group_without_one(
    agree: Agree, totals: DataFrame, shops: DataFrame
) -> None:
    nobody = shops.filter("number IS NULL OR number % 300 = 0").select("number")
    agree(totals.join(nobody, on="shop IS NOT DISTINCT FROM number").node, **EARLY)


def test_what_others_read_too_stays_whole(
    agree: Agree, session: Session, sales: DataFrame, few: DataFrame
) -> None:
    session.register("sales", sales)
    session.register("few", few)
    text = """
        WITH t AS (SELECT shop, sum(price) AS total FROM sales GROUP BY shop)
        SELECT number, total, (SELECT max(total) FROM t) FROM few JOIN t ON shop = number"""
    agree(optimize(session.sql(text).node), **EARLY)


def test_a_value_of_the_fold_is_no_key_of_its_rows(
    agree: Agree, totals: DataFrame, few: DataFrame
) -> None:
    run = agree(totals.join(few, on=col("sold") == col("number")).node, **EARLY)
    assert folded_rows(run) > 900


def test_rows_that_have_met_tell_the_next_relation_what_they_need(
    agree: Agree, session: Session, sales: DataFrame, few: DataFrame
) -> None:
    """As in TPC-H 21: of three readings of one table, the first is small, and has met the second."""
    session.register("sales", sales)
    session.register("few", few)
    text = """
        SELECT one.id FROM few JOIN sales one ON one.shop = number
        WHERE EXISTS (SELECT 1 FROM sales two WHERE two.shop = one.shop AND two.id <> one.id)
          AND NOT EXISTS (SELECT 1 FROM sales three WHERE three.shop = one.shop
                          AND three.id > one.id AND three.price > 200)"""
    run = agree(optimize(session.sql(text).node), planner__broadcast_bytes_max=20_000, **SPREAD)
    assert run.statistics_of('hash("two.shop")').total_rows < 200, run.stages
