"""The 99 TPC-DS queries give DuckDB's own answers, however small data is spread.

The tables are cut into many small row groups, and tasks read few of them, so that what is small walks
the paths of what is large. Most queries have hundreds of nodes: here the planner meets what nobody
would think of.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from benchmarks.answers import require_equal, sort_columns
from benchmarks.tpcds.texts import ALL, query_text
from flowgrid.api.session import Session
from flowgrid.optimizer.optimizer import optimize
from tests.reference import ReferenceEngine
from tests.stage_runner import StageRunner

SHAPES: dict[str, tuple[int, dict[str, object]]] = {
    "by-size": (4, {"planner.split_bytes": "64KiB"}),
    "no-shortcuts": (
        2,
        {
            "planner.split_bytes": "16KiB",
            "planner.force_exchanges": "true",
            "planner.partitions": "3",
        },
    ),
}

Kernel = Callable[[str], pa.Table]


@pytest.fixture(scope="module")
def session(tpcds_tables: dict[str, Path]) -> Session:
    session = Session(ReferenceEngine())
    for name, path in tpcds_tables.items():
        session.register(name, session.read_parquet(str(path)))
    return session


@pytest.fixture(scope="module")
def kernel(tpcds_tables: dict[str, Path]) -> Iterator[Kernel]:
    with duckdb.connect(config={"threads": 1}) as connection:
        for name, path in tpcds_tables.items():
            connection.execute(f"CREATE VIEW {name} AS FROM read_parquet('{path}')")
        yield lambda text: connection.sql(text).to_arrow_table()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("number", ALL, ids="q{:02d}".format)
def test_stages_give_the_kernels_own_answer(
    number: int, shape: str, tpcds_data: Path, session: Session, kernel: Kernel, tmp_path: Path
) -> None:
    slots, conf = SHAPES[shape]
    text = query_text(number, tpcds_data)
    runner = StageRunner(tmp_path, slots, conf)
    answer = runner.run(optimize(session.sql(text).node))
    require_equal(answer, kernel(text), sort_columns(text))
    assert "gathered to one task" not in runner.stages, runner.stages
