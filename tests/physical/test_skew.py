"""Keys that far too many rows have: several tasks share them, and the answer stays the same."""

from __future__ import annotations

import pyarrow as pa
import pytest

import flowgrid as fg
from flowgrid import col
from flowgrid.api.dataframe import DataFrame
from flowgrid.api.session import Session
from flowgrid.config import KIB, Config
from flowgrid.expr.tree import parse
from flowgrid.logical.nodes import Filter, Join, JoinKind
from flowgrid.physical.exchanges import Exchange, StageRead
from flowgrid.physical.layout import Shape, divided_targets
from flowgrid.physical.partitioning import Hashed
from flowgrid.physical.skew import divisible, pieces_wanted
from flowgrid.protocol.fragment import Field
from flowgrid.protocol.job_graph import StageSpec, StageStatistics
from tests.physical.conftest import Agree
from tests.stage_runner import StageRunner

HASHED: dict[str, object] = {
    "planner.broadcast_bytes_max": 0,
    "planner.partitions": 8,
    "planner.target_partition_bytes": "64k",
}
"""Small data that meets by hash, in tasks that should read 64 KiB."""


@pytest.fixture
def visits(session: Session) -> DataFrame:
    """60,000 rows, of which nine in ten are of shop 7."""
    rows = range(60_000)
    return session.from_arrow(
        pa.table(
            {
                "shop": [7 if i % 10 else i % 1000 for i in rows],
                "visitor": [i * 7919 % 60_000 for i in rows],
                "paid": [float(i % 100) for i in rows],
            }
        )
    )


@pytest.fixture
def rents(session: Session) -> DataFrame:
    """Two rents per shop, and too many bytes to be small."""
    return session.from_arrow(
        pa.table(
            {
                "number": [i % 1000 for i in range(2000)],
                "rent": [f"{i:08}" * 4 for i in range(2000)],
            }
        )
    )


@pytest.fixture
def agree_skewed(agree: Agree) -> Agree:
    def check(frame: DataFrame, **conf: object) -> StageRunner:
        settings = {name.replace(".", "__"): value for name, value in HASHED.items()}
        return agree(frame.node, **{**settings, **conf})

    return check


def task_bytes(run: StageRunner, spec: StageSpec) -> list[float]:
    """What each task of a stage reads, if every partition wrote the same for a target."""
    found = [0.0] * spec.partition_count
    for edge in spec.inputs:
        made = run.specs[edge.stage]
        sizes = run.statistics[edge.stage].bytes
        for task, part in enumerate(edge.slices or ()):
            share = (part.partition_stop - part.partition_start) / made.partition_count
            found[task] += share * sum(sizes[part.target_start : part.target_stop])
    return found


def joins_of(run: StageRunner) -> StageSpec:
    return next(spec for spec in run.specs if len(spec.inputs) == 2)


@pytest.mark.parametrize("how", ["inner", "left", "semi", "anti"])
def test_the_large_side_of_a_join_is_split_and_the_other_read_by_each(
    agree_skewed: Agree, visits: DataFrame, rents: DataFrame, how: str
) -> None:
    frame = visits.join(rents, left_on="shop", right_on="number", how=how)  # type: ignore[arg-type]

    run = agree_skewed(frame)

    join = joins_of(run)
    hot = max(run.statistics[join.inputs[0].stage].bytes)
    assert join.partition_count > 8
    assert max(task_bytes(run, join)) < hot / 3


def test_a_side_that_keeps_rows_without_a_partner_is_never_read_twice(
    agree_skewed: Agree, visits: DataFrame, rents: DataFrame
) -> None:
    for how in ("left", "full"):
        frame = rents.join(visits, left_on="number", right_on="shop", how=how)
        run = agree_skewed(frame)
        assert joins_of(run).partition_count <= 8, how


def test_an_aggregate_over_a_skewed_join_is_folded_in_pieces(
    agree_skewed: Agree, visits: DataFrame, rents: DataFrame
) -> None:
    frame = (
        visits.join(rents, left_on="shop", right_on="number")
        .group_by("shop")
        .agg(fg.mean("paid").alias("mean"), fg.count().alias("n"), fg.max("rent").alias("most"))
    )

    run = agree_skewed(frame)

    join = joins_of(run)
    assert join.partition_count > 8
    assert "PartialAggregate" in run.stages


def test_rows_that_met_unfolded_are_folded_where_there_are_too_many(
    agree_skewed: Agree, visits: DataFrame
) -> None:
    """Two keys of which nothing is known: by estimate there are as many groups as rows."""
    groups = visits.with_columns(same=col("shop") + 0).group_by("shop", "same")
    frame = groups.agg(fg.sum("paid").alias("paid"), fg.mean("visitor").alias("visitor"))

    run = agree_skewed(frame)

    assert any("PartialAggregate" in text for text in run.stages.split("stage ")[2:])
    assert max(spec.partition_count for spec in run.specs) > 8


def test_what_needs_all_rows_of_a_key_is_not_split(agree_skewed: Agree, visits: DataFrame) -> None:
    ranked = visits.with_columns(n=fg.row_number().over("shop", order_by="visitor"))
    middle = visits.group_by("shop").agg(fg.median("paid").alias("middle"))

    for frame in (ranked.filter(col("n") < 5), middle):
        run = agree_skewed(frame)
        assert max(spec.partition_count for spec in run.specs) <= 8


def test_a_partition_is_worth_as_many_tasks_as_its_bytes() -> None:
    assert pieces_wanted([10, 10, 95, 16], 10.0) == {2: 10, 3: 2}
    assert pieces_wanted([0, 0], 0.0) == {}
    assert pieces_wanted([15 * KIB], 10.0 * KIB) == {}


def read_of(stage: int, column: str, *bytes_: int) -> StageRead:
    """What eight tasks have written, hashed by `column`."""
    how = Hashed(frozenset([(f'"{column}"',)]), ("BIGINT",), len(bytes_))
    sizes = StageStatistics(bytes_, bytes_)
    exchange = Exchange(stage, 8, len(bytes_), how, sizes)
    return StageRead((Field(column, "BIGINT"),), exchange, None)  # type: ignore[arg-type]


def test_a_target_is_split_only_where_the_pieces_read_little_of_it_again() -> None:
    shape = Shape(2, Config.parse({"planner.target_partition_bytes": "64k"}))
    skewed, even = read_of(0, "k", 640 * KIB, 20 * KIB), read_of(1, "m", 20 * KIB, 20 * KIB)
    condition = parse('"k" = "m"')

    large_left = Join(skewed, even, JoinKind.LEFT, condition)
    assert divided_targets(large_left, [skewed, even], shape) == {0: (skewed, 12)}

    large_right = Join(even, skewed, JoinKind.LEFT, condition)
    assert divided_targets(large_right, [even, skewed], shape) == {}


def test_a_side_with_dice_in_it_is_not_read_by_several() -> None:
    left, right = read_of(0, "k", 1, 1), read_of(1, "m", 1, 1)
    condition = parse('"k" = "m"')
    dice = Filter(right, parse("random() < 0.5"))

    assert divisible(Join(left, right, JoinKind.INNER, condition)) == [right, left]
    assert divisible(Join(left, dice, JoinKind.INNER, condition)) == [right]
    assert divisible(Join(left, right, JoinKind.LEFT, condition)) == [left]
    assert divisible(Join(left, right, JoinKind.FULL, condition)) == []
