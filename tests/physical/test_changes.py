"""What real sizes changed is told, with the amounts that were expected."""

from __future__ import annotations

import pyarrow as pa
import pytest

from flowgrid.api.dataframe import DataFrame
from flowgrid.api.session import Session
from flowgrid.logical.nodes import Node
from flowgrid.physical.changes import Change, ChangeKind, Unit, explain_changes
from tests.physical.conftest import Agree
from tests.stage_runner import StageRunner


def changes_of(run: StageRunner, kind: ChangeKind) -> list[Change]:
    assert run.planner is not None
    return [change for change in run.planner.book.changes if change.kind is kind]


def large(session: Session, rows: int) -> DataFrame:
    """Wide rows of a key that has 1,000 values."""
    table = pa.table(
        {"k": [i % 1000 for i in range(rows)], "t": [f"{i:0100}" for i in range(rows)]}
    )
    return session.from_arrow(table)


@pytest.fixture
def few(session: Session) -> Node:
    """By estimate 10 % of 30,000 wide rows, in truth five of them."""
    small = large(session, 30_000).filter("t LIKE '%9999'").with_columns(m="k", wide="t")
    return small.select("m", "wide").node


def test_a_side_that_is_smaller_than_it_seemed_is_broadcast(
    session: Session, agree: Agree, few: Node
) -> None:
    frame = large(session, 20_000)
    right = DataFrame(few, frame.engine)

    run = agree(
        frame.join(right, left_on="k", right_on="m").node, planner__broadcast_bytes_max="50k"
    )

    (change,) = changes_of(run, ChangeKind.BROADCAST)
    assert change.real < 50 * 1024 < change.expected
    assert str(change).startswith("broadcast instead of hash: stage ")


def test_a_side_that_is_larger_than_it_seemed_meets_by_hash(session: Session, agree: Agree) -> None:
    """By estimate 10 % of the rows, in truth all of them."""
    seemed = large(session, 30_000).filter("t LIKE '%0%'").select("k AS m", "t AS wide")
    frame = large(session, 60_000).join(seemed, left_on="k", right_on="m")

    run = agree(frame.node, planner__broadcast_bytes_max="1m")

    (change,) = changes_of(run, ChangeKind.HASH)
    assert change.expected < 1 << 20 < change.real


def test_merged_partitions_are_counted(session: Session, agree: Agree) -> None:
    frame = large(session, 30_000).repartition(4, "k").group_by("k").agg("max(t) AS t")

    run = agree(frame.node, planner__target_partition_bytes="2m", planner__partitions=16)

    found = changes_of(run, ChangeKind.MERGED) + changes_of(run, ChangeKind.TOGETHER)
    assert found
    assert "partitions of stage" in str(found[0])


def test_filtered_rows_are_counted(session: Session, agree: Agree) -> None:
    """The left side of a left join is small: of the right one only its partners travel."""
    left = large(session, 20_000).filter("k < 3").select("k", "t AS u")
    frame = left.join(
        large(session, 40_000).select("k AS m", "t"), left_on="k", right_on="m", how="left"
    )

    run = agree(frame.node)

    (change,) = changes_of(run, ChangeKind.FILTERED)
    assert (change.real, change.expected, change.unit) == (120, 40_000, Unit.ROWS)


def test_text_has_both_amounts() -> None:
    changes = [
        Change(ChangeKind.SPLIT, "stage 4 reads partition 1 of stage 2 in 3 tasks", 10, 5 << 20),
        Change(ChangeKind.FILTERED, "stage 3 kept rows with a partner", 4000, 12, Unit.ROWS),
    ]
    assert explain_changes(changes) == (
        "partition split: stage 4 reads partition 1 of stage 2 in 3 tasks (5.0 MiB, expected 10 bytes)\n"
        "filtered: stage 3 kept rows with a partner (12 rows, expected 4,000 rows)"
    )
    assert explain_changes([]) == "nothing was changed at run time"
