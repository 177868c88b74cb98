"""Small plans run as one task wherever they are; large ones, and those that say otherwise, do not."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowgrid import col
from flowgrid.api.dataframe import DataFrame
from flowgrid.api.session import Session
from flowgrid.config import Config
from flowgrid.optimizer.optimizer import optimize
from flowgrid.physical.layout import Shape
from flowgrid.physical.rehearsal import rehearse
from flowgrid.physical.shortcut import input_bytes, prepared

ROWS, ROWS_PER_GROUP = 40_000, 4_000


@pytest.fixture
def numbers(session: Session, tmp_path: Path) -> DataFrame:
    """Ten row groups in order of `id`, with a wide column beside."""
    table = pa.table({"id": range(ROWS), "wide": [f"{i:050}" for i in range(ROWS)]})
    path = tmp_path / "numbers.parquet"
    pq.write_table(
        table, path, row_group_size=ROWS_PER_GROUP, use_dictionary=False, compression="none"
    )
    return session.read_parquet(str(path))


def shape(conf: dict[str, object] | None = None) -> Shape:
    return Shape(6, Config.parse(conf))


def test_a_small_plan_is_one_task_and_says_why(numbers: DataFrame) -> None:
    frame = numbers.group_by("id").agg("count(*) AS n").sort("n")

    known = prepared(frame.node, shape())
    text = rehearse(known.plan, known.shape, known.note)

    assert text.startswith("stage 0  1 task  result")
    assert "stage 1" not in text
    assert "note: all in one task: it reads 0.3 MiB, and planner.single_task_bytes_max is" in text


def test_only_columns_and_row_groups_that_are_read_count(numbers: DataFrame) -> None:
    def counted(frame: DataFrame) -> float:
        return input_bytes(optimize(frame.node), 1e12)

    everything = counted(numbers)
    one_column = counted(numbers.select("id"))
    a_tenth = counted(numbers.select("id").filter(col("id") < ROWS_PER_GROUP))

    assert one_column < everything / 4
    assert a_tenth == pytest.approx(one_column / 10, rel=0.05)


def test_counting_ends_where_the_answer_is_known(numbers: DataFrame) -> None:
    assert 1 < input_bytes(numbers.node, 1) < input_bytes(numbers.node, 1e12) / 5


@pytest.mark.parametrize(
    "conf",
    [{"planner.single_task_bytes_max": 1000}, {"planner.force_exchanges": True}],
    ids=["too-large", "forced"],
)
def test_a_large_plan_or_a_forced_one_is_for_all_slots(
    numbers: DataFrame, conf: dict[str, object]
) -> None:
    known = prepared(numbers.node, shape(conf))
    assert (known.shape.slots, known.note) == (6, "")


def test_who_asks_for_partitions_or_runs_functions_gets_all_slots(numbers: DataFrame) -> None:
    for frame in (
        numbers.repartition(4),
        numbers.map_batches(lambda batch: batch, schema=numbers.schema),
    ):
        assert prepared(frame.node, shape()).shape.slots == 6


def test_a_product_of_small_tables_is_not_small(numbers: DataFrame) -> None:
    pairs = numbers.select("id").join(numbers.select(other="id"), how="cross")
    assert prepared(pairs.node, shape()).shape.slots == 6
