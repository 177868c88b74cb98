"""A job's answer is read from blocks, and a lost block is computed again while it is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import flowgrid as fg
from flowgrid.api.session import Session
from flowgrid.ids import AttemptId
from flowgrid.io.blocks import BlockFile
from flowgrid.protocol.blocks import file_name
from flowgrid.submit.execution import Engine
from flowgrid.submit.results import Result

COVERS = ["execution"]

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with fg.connect("local-cluster[2,1,512]", conf={"planner.force_exchanges": True}) as opened:
        yield opened


def run(session: Session, rows: int = 1_000) -> Result:
    engine = session.engine
    assert isinstance(engine, Engine)
    frame = session.range(rows).group_by("id % 10 AS k").agg(fg.sum("id").alias("s"))
    return engine.run(frame.node)


def sums(result: Result) -> dict[int, int]:
    return {row["k"]: int(row["s"]) for batch in result.batches() for row in batch.to_pylist()}


def files_of(result: Result) -> list[Path]:
    """Block files of the result's own stage."""
    outputs, job = result._succeeded.outputs, result._succeeded.job.number
    return [
        Path(
            outputs.executors[holder].directory,
            file_name(AttemptId(job, outputs.stage, partition, attempt)),
        )
        for partition, (holder, attempt) in enumerate(
            zip(outputs.holders, outputs.attempts, strict=True)
        )
    ]


WANTED = {k: sum(range(k, 1_000, 10)) for k in range(10)}


def test_an_answer_has_a_schema_rows_and_stages(session: Session) -> None:
    with run(session) as result:
        assert result.schema.names == ["k", "s"]
        assert result.rows == 10
        assert result.stages.startswith("stage 0")
        assert sums(result) == WANTED
        assert sums(result) == WANTED, "an answer can be read again"


def test_a_plan_that_ran_tells_what_its_stages_wrote(session: Session) -> None:
    session.register("numbers", session.range(1_000))
    text = "EXPLAIN ANALYZE SELECT id % 10 AS k, count(*) AS n FROM numbers GROUP BY k"
    (row,) = session.sql(text).to_pylist()
    told = row["explain_value"].splitlines()
    assert told[0].startswith("stage 0"), told
    assert told[-1] == "result: 10 rows"


def test_a_lost_block_is_computed_again(session: Session) -> None:
    with run(session) as result:
        files_of(result)[1].unlink()
        assert sums(result) == WANTED


def test_a_corrupt_block_is_computed_again(session: Session) -> None:
    with run(session) as result:
        path = next(path for path in files_of(result) if BlockFile(path).index.blocks[0].segments)
        data = bytearray(path.read_bytes())
        data[:64] = b"\xff" * 64
        path.write_bytes(data)
        assert sums(result) == WANTED


def test_several_jobs_at_a_time_share_a_cluster(session: Session) -> None:
    with run(session) as first, run(session, 10) as second:
        assert sums(second) == {k: k for k in range(10)}
        assert sums(first) == WANTED


def test_the_stages_are_explained_without_running_them(session: Session) -> None:
    frame = session.range(1_000).group_by("id % 10 AS k").agg(fg.sum("id").alias("s"))
    text = frame.explain("stages")
    assert "PartialAggregate" in text
    assert "result" in text


def test_what_real_sizes_changed_is_told_after_a_run(session: Session) -> None:
    frame = session.range(1_000).group_by("id % 10 AS k").agg(fg.sum("id").alias("s"))
    with pytest.raises(fg.PlanError, match="has not run"):
        frame.explain("adaptive")

    frame.collect()

    assert frame.explain("adaptive") == "nothing was changed at run time"
