"""A frame is a plan until an action; verbs that are in no other file."""

from __future__ import annotations

import sys
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import flowgrid as fg
from flowgrid.api.dataframe import DataFrame
from flowgrid.api.session import Session
from tests.reference import ReferenceEngine, ReferenceResult

COVERS = ["concatenation"]


class CountingEngine(ReferenceEngine):
    """The reference, and how often it was asked."""

    def __init__(self) -> None:
        self.runs = 0

    def run(self, plan: Any) -> ReferenceResult:
        self.runs += 1
        return super().run(plan)


def test_only_actions_run() -> None:
    engine = CountingEngine()
    frame = Session(engine).range(10).filter("id > 3").with_columns(b="id * 2").limit(3)

    assert frame.columns == ["id", "b"]
    assert frame.schema == pa.schema({"id": pa.int64(), "b": pa.int64()})
    assert repr(frame) == "DataFrame[id: BIGINT, b: BIGINT]"
    assert "<td>BIGINT</td>" in frame._repr_html_()
    assert frame.explain("optimized").splitlines()
    assert engine.runs == 0
    assert frame.count() == 3
    assert engine.runs == 1


def test_the_schema_is_what_collect_returns(session: Session) -> None:
    frame = session.range(3).select(
        "id",
        fg.sql_expr("sum(id) OVER () AS h"),
        fg.sql_expr("id / 2 AS f"),
        fg.sql_expr("[id] AS l"),
        fg.sql_expr("id > 1 AS b"),
        fg.sql_expr("id::VARCHAR AS t"),
        fg.sql_expr("uuid() AS u"),
        fg.sql_expr("{'x': id::DECIMAL(15,2)} AS s"),
    )

    assert frame.schema == frame.collect().schema


def test_explain_shows_the_plan_at_three_ages(session: Session) -> None:
    frame = session.range(10).filter("id > 3").select("id")

    assert frame.explain() == 'Project id\n  Filter "id" > 3\n    IntegerRange 0..10 step 1'
    assert frame.explain("stages") == "one query"
    with pytest.raises(fg.PlanError, match="logical, optimized, stages or adaptive"):
        frame.explain("physical")  # type: ignore[arg-type]


def test_limits_and_slices(session: Session) -> None:
    frame = session.range(10).sort("id")

    assert frame.limit(2).collect()["id"].to_pylist() == [0, 1]
    assert frame.head().count() == 5
    assert frame.slice(8).collect()["id"].to_pylist() == [8, 9]
    assert frame.slice(2, 3).collect()["id"].to_pylist() == [2, 3, 4]
    with pytest.raises(fg.PlanError, match="negative"):
        frame.limit(-1)


def test_set_verbs(session: Session) -> None:
    low, high = session.range(0, 6), session.range(4, 8)

    assert sorted(low.intersect(high).collect()["id"].to_pylist()) == [4, 5]
    assert sorted(low.except_(high).collect()["id"].to_pylist()) == [0, 1, 2, 3]
    twice, once = low.union(low), low.union(high)
    assert twice.intersect(once, distinct=False).count() == 8
    assert sorted(twice.except_(once, distinct=False).collect()["id"].to_pylist()) == [0, 1, 2, 3]
    assert low.union(high, low).count() == 16
    assert fg.concat([low, high]).count() == 10
    with pytest.raises(fg.PlanError, match="at least one"):
        fg.concat([])


def test_rows_come_in_every_form(session: Session) -> None:
    frame = session.range(3).sort("id")

    assert frame.to_pylist() == [{"id": 0}, {"id": 1}, {"id": 2}]
    assert sum(batch.num_rows for batch in frame.iter_batches()) == 3
    assert frame.to_arrow().equals(frame.collect())
    pd.testing.assert_frame_equal(frame.to_pandas(), pd.DataFrame({"id": [0, 1, 2]}))
    assert frame.to_polars().equals(pl.DataFrame({"id": [0, 1, 2]}))


def test_other_libraries_read_a_frame_as_an_arrow_stream(session: Session) -> None:
    frame = session.range(3).sort("id")

    assert pa.table(frame)["id"].to_pylist() == [0, 1, 2]
    assert pl.DataFrame(frame)["id"].to_list() == [0, 1, 2]
    assert pa.schema(frame) == frame.schema


def test_pipe_hands_the_frame_on(session: Session) -> None:
    def first(frame: DataFrame, n: int, *, column: str) -> DataFrame:
        return frame.sort(column).limit(n)

    assert session.range(5).pipe(first, 2, column="id").count() == 2


def test_show_prints_some_rows(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    session.range(5).sort("id").show(2)

    shown = capsys.readouterr().out
    assert "id" in shown
    assert "first 2 rows" in shown
    assert "4" not in shown


def test_types_wait_for_the_engine_while_the_kernel_is_not_imported(
    session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = session.from_pylist([{"t": "x"}])
    with pytest.raises(fg.TypeMismatchError):
        text.with_columns(fg.col("t") * 2)
    monkeypatch.delitem(sys.modules, "duckdb")

    late = text.with_columns(fg.col("t") * 2)

    monkeypatch.undo()
    with pytest.raises(fg.TypeMismatchError):
        late.schema  # noqa: B018


OF_FRAMES: dict[str, list[tuple[object, ...]]] = {
    "FROM self WHERE a NOT IN (SELECT k FROM other)": [],
    "FROM self WHERE a NOT IN (SELECT k FROM other WHERE k IS NOT NULL)": [(3,)],
    "FROM self WHERE NOT EXISTS (FROM other WHERE k = a)": [(3,), (None,)],
    "SELECT a + (SELECT max(k) FROM other) FROM self WHERE a IS NOT NULL": [(3,), (4,), (5,)],
    "SELECT a, n FROM self, LATERAL (SELECT count(*) AS n FROM other WHERE k < a) WHERE a > 1": [
        (2, 1),
        (3, 2),
    ],
    "WITH RECURSIVE up AS (SELECT min(a) AS n FROM self UNION ALL SELECT n + $by FROM up WHERE n < 5) "
    "FROM up": [(1,), (3,), (5,)],
}


@pytest.mark.parametrize("text", OF_FRAMES)
def test_a_frame_is_asked_in_sql_beside_others(session: Session, text: str) -> None:
    """What has no verb of its own: subqueries, laterals, recursion."""
    frame = session.from_pylist([{"a": 1}, {"a": 2}, {"a": 3}, {"a": None}])
    other = session.from_pylist([{"k": 1}, {"k": 2}, {"k": None}])

    found = frame.sql(text, {"by": 2} if "$by" in text else None, other=other).to_pylist()

    rows = [tuple(row.values()) for row in found]
    assert sorted(map(str, rows)) == sorted(map(str, OF_FRAMES[text]))


def test_a_frame_is_asked_with_queries_over_named_frames_only(session: Session) -> None:
    session.register("elsewhere", session.range(3))
    with pytest.raises(fg.PlanError, match=r"session\.sql\(…\) runs other statements"):
        session.range(3).sql("CREATE TABLE t AS FROM self")
    with pytest.raises(fg.PlanError, match="unknown table 'elsewhere'"):
        session.range(3).sql("FROM self JOIN elsewhere USING (id)")
