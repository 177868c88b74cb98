"""Keys of few rows go down the other side of their join: less is folded, and the answer is the same."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
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
FILTERED = {"planner__broadcast_bytes_max": 5_000, "planner__split_bytes": 20_000}

Keyed = Callable[[str, int], tuple[DataFrame, DataFrame]]


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
    run = agree(frame.node, **EARLY)
    assert folded_rows(run) < 50
    assert run.planner is not None
    said = run.planner.explain_changes()
    assert "folds rows with a partner in stage 0 (5 rows, expected 5 rows)" in said
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
    assert '"#f0"' in run.stages


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


def test_rows_tell_it_also_if_they_were_the_smaller_side_where_they_met(
    agree: Agree, session: Session, sales: DataFrame
) -> None:
    """The kernel builds the smaller side, which the plan puts on the right for it."""
    session.register("sales", sales)
    session.register("marks", session.range(3000))
    text = """
        SELECT one.id FROM sales one
        JOIN (SELECT id AS number FROM marks WHERE id % 7 >= 0 AND id % 5 >= 0) ON one.shop = number
        WHERE one.id % 40 = 0
          AND EXISTS (SELECT 1 FROM sales two WHERE two.shop = one.shop AND two.id <> one.id)"""
    run = agree(optimize(session.sql(text).node), planner__broadcast_bytes_max=20_000, **SPREAD)
    assert run.planner is not None
    said = run.planner.explain_changes()
    assert "kept rows with a partner in stage" in said, run.stages + said


KEYS = {
    "whole numbers of two widths": ("INTEGER", "HUGEINT", ["0", "-7", "2147483647", "NULL", "3"]),
    "NaN and both zeros": ("DOUBLE", "DOUBLE", ["'nan'", "-0.0", "0.0", "'-inf'", "NULL", "1.5"]),
    "32-bit floats": ("FLOAT", "DOUBLE", ["'nan'", "16777217", "0.1", "NULL"]),
    "decimals of two scales": ("DECIMAL(10,2)", "DECIMAL(38,9)", ["1.50", "-0.01", "99.9", "NULL"]),
    "texts": ("VARCHAR", "VARCHAR", ["''", "'a'", "'A'", "'é'", "chr(255) || repeat('z', 300)", "NULL"]),
    "days and times": ("DATE", "TIMESTAMP", ["'2000-02-29'", "'1969-12-31'", "'infinity'", "NULL"]),
    "truths": ("BOOLEAN", "BOOLEAN", ["true", "false", "NULL"]),
}  # fmt: skip
"""Types of the large side's and the small side's key, and values of both."""

MATCHED = ("days and times", "truths")
"""For all that is known, every key of these has its equal among four rows: looking would not pay."""


@pytest.fixture
def keyed(session: Session, tmp_path: Path) -> Keyed:
    """Files of many rows per key, sorted by it, in small row groups; and a table of some of the keys,
    whose `keys` says how many."""

    def made(kind: str, count: int) -> tuple[DataFrame, DataFrame]:
        large, small, values = KEYS[kind]
        rows = ", ".join(f"(({value})::{large})" for value in values)
        few = ", ".join(f"(({value})::{large})" for value in (values[:count] or values) * 2)
        with duckdb.connect(config={"threads": 1}) as kernel:
            kernel.execute(
                f"COPY (SELECT k, id, 'text ' || id AS t FROM (VALUES {rows}) _(k), range(5000) _(id) "
                f"ORDER BY k) TO '{tmp_path}/large.parquet' (FORMAT parquet, ROW_GROUP_SIZE 2048)"
            )
            query = f"SELECT k::{small} AS j, {count} AS keys FROM (VALUES {few}) _(k)"
            table = kernel.sql(query).to_arrow_table()
        return session.read_parquet(str(tmp_path / "large.parquet")), session.from_arrow(table)

    return made


@pytest.mark.parametrize("kind", KEYS)
@pytest.mark.parametrize("count", [0, 2])
def test_rows_in_files_are_kept_if_the_join_finds_their_keys_equal(
    agree: Agree, session: Session, keyed: Keyed, kind: str, count: int
) -> None:
    large, few = keyed(kind, count)
    session.register("large", large)
    session.register("few", few)
    for compare, sides in (
        ("=", "asked LEFT JOIN large"),
        ("=", "large RIGHT JOIN asked"),
        ("IS NOT DISTINCT FROM", "asked LEFT JOIN large"),
    ):
        text = f"WITH asked AS (FROM few WHERE keys > 0) FROM {sides} ON k {compare} j"
        run = agree(optimize(session.sql(text).node), **FILTERED)
        pays = compare != "=" or count == 0 or kind not in MATCHED
        assert (f'{compare} "#f0"' in run.stages) == pays, run.stages


WIDE = {**FILTERED, "planner__broadcast_bytes_max": 40_000, "planner__reduce_bytes_min": 0}


@pytest.mark.parametrize("compare", ["=", "IS NOT DISTINCT FROM"])
def test_a_side_too_wide_to_be_sent_whole_sends_its_keys(
    agree: Agree, session: Session, tmp_path: Path, compare: str
) -> None:
    with duckdb.connect(config={"threads": 1}) as kernel:
        kernel.execute(
            "COPY (SELECT CASE WHEN id % 50 > 0 THEN id // 10 END AS k, id, 'text ' || id AS t "
            f"FROM range(20000) _(id)) TO '{tmp_path}/large.parquet' (ROW_GROUP_SIZE 2048)"
        )
        kernel.execute(
            "COPY (SELECT nullif(id, 205) AS j, repeat('w' || id, 100) AS w "
            f"FROM range(200, 400) _(id)) TO '{tmp_path}/wide.parquet'"
        )
    session.register("large", session.read_parquet(str(tmp_path / "large.parquet")))
    session.register("wide", session.read_parquet(str(tmp_path / "wide.parquet")))
    text = f"SELECT id, w FROM large JOIN wide ON k {compare} j"
    run = agree(optimize(session.sql(text).node), **WIDE)
    assert f'{compare} "#f0"' in run.stages, run.stages
    assert run.planner is not None
    assert "kept rows with a partner in stage" in run.planner.explain_changes()
    untouched = agree(
        optimize(session.sql(text).node), **WIDE | {"planner__reduce_bytes_min": 10**9}
    )
    assert '"#f0"' not in untouched.stages


def test_a_side_whose_keys_most_rows_have_filters_nothing(
    agree: Agree, session: Session, sales: DataFrame
) -> None:
    shops = session.range(1000).select((col("id")).alias("number"), fg.lit("w" * 500).alias("w"))
    frame = sales.join(shops.filter("w <> ''"), on=col("shop") == col("number"))
    assert '"#f0"' not in agree(optimize(frame.node), **WIDE).stages
