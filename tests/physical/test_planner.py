"""Stages give the rows that one kernel gives, whatever the verbs, the slots and the sizes are."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

import flowgrid as fg
from flowgrid import col
from flowgrid.api.dataframe import DataFrame
from flowgrid.api.session import Session
from flowgrid.optimizer.optimizer import bound_queries, optimize
from flowgrid.physical.planner import shared_subplans
from flowgrid.protocol import codec
from flowgrid.protocol.fragment import PythonStep
from tests import reference
from tests.physical.conftest import Agree, rows_of
from tests.stage_runner import StageRunner


def test_one_slot_means_one_task_and_no_exchange(agree: Agree, sales: DataFrame) -> None:
    frame = sales.group_by("shop").agg(fg.sum("price").alias("total")).sort("shop").limit(7)

    run = agree(frame.node, slots=1, ordered=True)

    assert [spec.partition_count for spec in run.specs if spec.given is None] == [1]


def test_a_filter_and_a_projection_run_where_the_rows_are(session: Session, agree: Agree) -> None:
    frame = session.range(10_000).filter(col("id") % 3 == 0).select((col("id") * 2).alias("twice"))

    run = agree(frame.node)

    assert len(run.specs) == 1
    assert run.specs[0].partition_count == 3


@pytest.mark.parametrize("slots", [1, 2, 5])
def test_a_program_of_many_verbs(
    agree: Agree, sales: DataFrame, shops: DataFrame, slots: int
) -> None:
    frame = (
        sales.join(shops, left_on="shop", right_on="number", how="left")
        .with_columns(rank=fg.row_number().over("town", order_by="id"))
        .filter(col("rank") <= 20)
        .group_by("town", "kind")
        .agg(
            fg.count().alias("n"),
            fg.mean("price").alias("mean"),
            fg.n_unique("shop").alias("shops"),
        )
        .sort("town", "kind")
    )
    agree(frame.node, slots=slots, ordered=True, planner__force_exchanges=True)


def test_union_keeps_every_row_of_a_frame_that_is_in_it_twice(
    agree: Agree, sales: DataFrame
) -> None:
    few = sales.filter(col("shop") < 10)
    agree(fg.concat([few, few, sales.limit(5)]).node, planner__force_exchanges=True)


def test_a_shared_subplan_is_computed_once(agree: Agree, sales: DataFrame) -> None:
    totals = sales.group_by("shop").agg(fg.sum("price").alias("total"))
    best = totals.agg(fg.max("total").alias("best"))
    frame = totals.join(best, on=col("total") == col("best"), how="inner")

    run = agree(frame.node)

    assert run.stages.count('SUM("price")') == 1


def test_user_functions_run_between_queries(agree: Agree, sales: DataFrame) -> None:
    def double(batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.record_batch({"twice": pa.compute.multiply(batch["price"], 2)})

    schema = pa.schema({"twice": pa.float64()})
    frame = sales.filter(col("kind") == "a").map_batches(double, schema=schema)
    agree(frame.agg(fg.sum("twice").alias("s"), fg.count().alias("n")).node)


@pytest.mark.parametrize("declared", [True, False])
def test_a_stage_says_whether_its_functions_are_deterministic(
    agree: Agree, sales: DataFrame, declared: bool
) -> None:
    @fg.udf(float, deterministic=declared)
    def guess(price: float) -> float:
        return price

    frame = sales.select("id", g=guess("price")).group_by("g").count()

    run = agree(frame.node, planner__force_exchanges=True)

    has_function = {
        any(
            isinstance(step, PythonStep) for step in codec.fragments.decode(spec.payload).steps
        ): spec.deterministic
        for spec in run.specs
        if spec.given is None
    }
    assert has_function == {True: declared, False: True}


def test_what_a_user_function_made_is_read_twice_from_its_blocks(
    agree: Agree, sales: DataFrame
) -> None:
    def same(batch: pa.RecordBatch) -> pa.RecordBatch:
        return batch

    made = sales.select("id", "shop").map_batches(
        same, schema=pa.schema({"id": pa.int64(), "shop": pa.int64()})
    )
    twice = (
        made.join(made.rename({"id": "other"}), on="shop")
        .group_by("shop")
        .agg(fg.count().alias("n"))
    )
    for slots in (1, 3):
        agree(twice.node, slots=slots)


def test_repartition_deals_rows_out_or_meets_them_by_key(agree: Agree, sales: DataFrame) -> None:
    dealt = agree(sales.repartition(7).node)
    met = agree(sales.repartition(4, "shop").group_by("shop").agg(fg.count().alias("n")).node)

    assert dealt.specs[-1].partition_count == 7
    assert "PartialAggregate" not in met.stages, "rows of one shop are together already"


def test_a_query_that_cannot_be_partitioned_is_one_task_and_says_why(
    agree: Agree, session: Session
) -> None:
    session.register("numbers", session.range(5))
    text = """
        WITH RECURSIVE t(n) AS (
            SELECT min(id) FROM numbers UNION ALL SELECT n + 1 FROM t WHERE n < 9
        ) SELECT n FROM t
    """
    plan = bound_queries(session.sql(text).node)

    run = agree(plan)

    assert "gathered to one task" in run.stages


def test_scans_are_cheaper_read_twice_than_kept(sales: DataFrame, session: Session) -> None:
    numbers = session.range(10).filter(col("id") > 3)
    assert not shared_subplans(numbers.union(numbers).node, slots=2)
    counted = numbers.group_by("id").agg(fg.count().alias("n"))
    assert shared_subplans(counted.union(counted).node, slots=2) == {counted.node}
    assert not shared_subplans(counted.union(counted).node, slots=1), "the kernel shares by itself"


@pytest.mark.parametrize("slots", [1, 3])
def test_a_sample_is_the_same_rows_for_the_same_seed(
    tmp_path: Path, sales: DataFrame, slots: int
) -> None:
    runner = StageRunner(tmp_path, slots)

    def ids(seed: int) -> list[int]:
        found: list[int] = runner.run(sales.sample(0.2, seed=seed).node)["id"].to_pylist()
        return found

    assert ids(3) == ids(3)
    assert ids(3) != ids(4)
    assert 5_000 < len(ids(3)) < 7_000


def test_a_union_over_a_join_with_a_relation_of_which_no_column_is_used(
    tmp_path: Path, sales: DataFrame, shops: DataFrame
) -> None:
    crossed = sales.select("id", "kind").join(shops.select("town").limit(1), how="cross")
    other = sales.select("id", "kind", "'nowhere' AS town")
    plan = fg.concat([crossed, other]).group_by("kind").agg(fg.count().alias("n")).node
    runner = StageRunner(tmp_path, 3, {"planner.force_exchanges": True})
    found = runner.run(optimize(plan))
    assert Counter(rows_of(found)) == Counter(rows_of(reference.run(plan))), runner.stages
