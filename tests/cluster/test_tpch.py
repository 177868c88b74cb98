"""The 22 TPC-H queries give DuckDB's own answers, wherever and however they run."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

import flowgrid as fg
from benchmarks.answers import require_equal, sort_columns
from benchmarks.datasets import TPCH_TABLES
from benchmarks.tpch.texts import ALL, query_text
from examples.tpch import QUERIES, open_tables
from tests.cluster.census import Premises

NO_SHORTCUTS = {"planner.force_exchanges": "true", "planner.partitions": "3"}
"""Small data walks the paths of big data: no broadcast, no merging of partitions."""

SPREAD = {"planner.single_task_bytes_max": "0"}
"""All is by size, but for the plan as a whole."""

PLACES: dict[str, tuple[str, dict[str, str]]] = {
    "local": ("local", {}),
    "one-core": ("local[1]", {}),
    "two-executors": ("local-cluster[2,1,4096]", SPREAD),
    "six-slots": ("local-cluster[3,2,2048]", SPREAD),
    "small-data": ("local-cluster[2,1,4096]", {}),
    "no-shortcuts": ("local-cluster[2,1,4096]", NO_SHORTCUTS),
}


def places() -> list[object]:
    """One group each, so that a place is opened by one test process only."""
    return [pytest.param(place, marks=pytest.mark.xdist_group(f"tpch-{place}")) for place in PLACES]


@pytest.fixture(scope="module")
def reference(tpch_data: Path) -> Iterator[Callable[[int], pa.Table]]:
    """DuckDB's answer to a query."""
    with duckdb.connect() as connection:
        for table in TPCH_TABLES:
            path = tpch_data / f"{table}.parquet"
            connection.sql(f"CREATE VIEW {table} AS FROM read_parquet('{path}')")
        yield lambda number: connection.sql(query_text(number)).to_arrow_table()


@pytest.fixture(scope="module", params=places())
def session(
    request: pytest.FixtureRequest, shared_premises: Premises, tpch_data: Path
) -> Iterator[fg.Session]:
    master, conf = PLACES[request.param]
    with fg.connect(master, conf=conf) as opened:
        for name, table in open_tables(opened, tpch_data).items():
            opened.register(name, table)
        yield opened


@pytest.mark.parametrize("number", ALL, ids="q{:02d}".format)
def test_sql_gives_the_kernels_own_answer(
    session: fg.Session, reference: Callable[[int], pa.Table], number: int
) -> None:
    text = query_text(number)
    require_equal(session.sql(text).collect(), reference(number), sort_columns(text))


@pytest.mark.parametrize("number", QUERIES, ids="q{:02d}".format)
def test_the_dataframe_programs_agree(
    session: fg.Session, reference: Callable[[int], pa.Table], tpch_data: Path, number: int
) -> None:
    answer = QUERIES[number](open_tables(session, tpch_data)).collect()
    require_equal(answer, reference(number), sort_columns(query_text(number)))
