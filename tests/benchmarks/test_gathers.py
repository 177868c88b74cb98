"""What one task alone reads of other stages is found in the stages that there were."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from benchmarks.gathers import gathers
from flowgrid.api.reading import from_arrow
from flowgrid.api.sql import bind
from flowgrid.optimizer.optimizer import optimize
from tests.stage_runner import StageRunner


def measured(text: str, directory: Path) -> str:
    given = pa.table({"k": [n % 7 for n in range(4_000)], "v": list(range(4_000))})
    plan = bind(text, {"given": from_arrow(given)}).bound
    assert plan is not None
    runner = StageRunner(directory, 3, {"planner.force_exchanges": True}, partition_bytes=20_000)
    runner.run(optimize(plan))
    assert runner.planner is not None
    return runner.planner.book.measured()


def test_all_rows_in_one_task_are_a_gather(tmp_path: Path) -> None:
    (found,) = gathers(measured("SELECT median(v) FROM given", tmp_path), 20_000)
    assert found.bytes >= 4_000 * 8
    assert "median" in found.what


def test_few_folds_in_one_task_and_rows_in_several_are_none(tmp_path: Path) -> None:
    stages = measured("SELECT k, sum(v) FROM given GROUP BY k ORDER BY k LIMIT 3", tmp_path)
    assert "1 task" in stages
    assert list(gathers(stages, 20_000)) == []
