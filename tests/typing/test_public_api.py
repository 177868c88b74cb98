"""The public API as a type checker sees it: mypy --strict checks this file, and it runs."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

import pyarrow as pa
import pytest

import flowgrid as fg
from flowgrid import Column, DataFrame, GroupedDataFrame, Session, col, lit
from tests.reference import ReferenceEngine


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(ReferenceEngine()) as opened:
        assert_type(opened, Session)
        yield opened


def test_expressions_are_columns() -> None:
    assert_type(col("a") + 1, Column)
    assert_type(1 + col("a"), Column)
    assert_type(col("a") == "x", Column)
    assert_type((col("a") > 1) & ~col("b"), Column)
    assert_type(col("a").str.to_uppercase(), Column)
    assert_type(col("a").dt.year().alias("y"), Column)
    assert_type(col("a").list.len(), Column)
    assert_type(col("a").struct.field("f"), Column)
    assert_type(fg.sum("a").over("b", order_by=["c"]), Column)
    assert_type(fg.when(col("a") > 1).then(lit("x")).otherwise("b"), Column)
    assert_type(col("a").cast("DECIMAL(15,2)"), Column)
    assert_type(col("a").cast(int), Column)


def test_verbs_are_frames_and_actions_are_not(session: Session, tmp_path: Path) -> None:
    numbers = session.range(10)
    assert_type(numbers, DataFrame)
    assert_type(numbers.group_by("id"), GroupedDataFrame[DataFrame])
    found = (
        numbers.filter(col("id") > 3, "id < 9")
        .with_columns(day=lit(datetime.date(2024, 1, 1)))
        .select("id", col("day"), ["id * 2 AS twice"])
        .join(numbers, on="id", how="left")
        .group_by("id", half=col("id") // 2)
        .agg(fg.count(), n=fg.max("twice"))
        .sort("n", descending=True)
        .limit(3)
    )
    assert_type(found, DataFrame)
    assert_type(found.count(), int)
    assert_type(found.columns, list[str])
    assert_type(found.explain("optimized"), str)
    assert isinstance(found.collect(), pa.Table)
    assert [batch.num_rows for batch in found.iter_batches()] == [3]
    assert_type(found.pivot("half", [1], index="id", values="n"), DataFrame)
    assert_type(found.join_asof(numbers, left_on="n", right_on="id", by=[]), DataFrame)
    found.write_csv(tmp_path / "out", mode="error", header=True)
    assert_type(fg.concat([found, found]), DataFrame)
    assert_type(session.sql("SELECT $n AS n, ?", {"n": None, "1": b"x"}), DataFrame)
    assert_type(
        session.sql("CREATE TABLE t AS SELECT ? AS d", [datetime.date(2024, 1, 1)]), DataFrame
    )
    assert_type(session.read_csv([tmp_path / "out"]), DataFrame)
