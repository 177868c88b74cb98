"""Small relations for plans, and the runner that every test in here compares with plain DuckDB."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest

from benchmarks import datasets
from flowgrid.api.dataframe import DataFrame
from flowgrid.api.session import Session
from flowgrid.logical.nodes import Node
from tests import reference
from tests.stage_runner import StageRunner

Agree = Callable[..., StageRunner]

_ROWS_PER_GROUP = 8192


@pytest.fixture
def session() -> Session:
    """Builds frames; their plans are what the tests run."""
    return Session(reference.ReferenceEngine())


@pytest.fixture
def sales(session: Session) -> DataFrame:
    """30,000 rows: a key of many values and one of few, with NULLs, duplicates and text."""
    rows = range(30_000)
    table = pa.table(
        {
            "id": list(rows),
            "shop": [None if i % 97 == 0 else i * 7 % 1000 for i in rows],
            "kind": ["abcde"[i % 5] if i % 11 else None for i in rows],
            "price": [i * 31 % 1009 / 4 for i in rows],
        }
    )
    return session.from_arrow(table)


@pytest.fixture
def shops(session: Session) -> DataFrame:
    """900 of the 1,000 shops, and one without a number."""
    return session.from_arrow(
        pa.table(
            {
                "number": pa.array([*range(100, 1000), None], pa.int32()),
                "town": [f"town {i % 50}" for i in range(901)],
            }
        )
    )


@pytest.fixture(scope="session")
def tpcds_data() -> Path:
    """A folder with the TPC-DS tables at scale 0.01, and the queries."""
    return datasets.tpcds(0.01)


@pytest.fixture(scope="session")
def tpcds_tables(tmp_path_factory: pytest.TempPathFactory, tpcds_data: Path) -> dict[str, Path]:
    """The tables in so small row groups that several tasks can share them."""
    directory = tmp_path_factory.mktemp("tpcds")
    with duckdb.connect(config={"threads": 1}) as connection:
        for path in datasets.tables_in(tpcds_data).values():
            options = f"FORMAT parquet, ROW_GROUP_SIZE {_ROWS_PER_GROUP}"
            connection.execute(f"COPY (FROM '{path}') TO '{directory / path.name}' ({options})")
    return datasets.tables_in(directory)


@pytest.fixture
def agree(tmp_path: Path) -> Agree:
    """Runs a plan in stages and plainly; the same rows, in the same order if `ordered`."""

    def check(plan: Node, *, slots: int = 3, ordered: bool = False, **conf: object) -> StageRunner:
        named = {name.replace("__", "."): value for name, value in conf.items()}
        runner = StageRunner(tmp_path, slots, named)
        rows = rows_of(runner.run(plan))
        wanted = rows_of(reference.run(plan))
        assert Counter(rows) == Counter(wanted), runner.stages
        assert not ordered or rows == wanted, runner.stages
        return runner

    return check


def rows_of(table: pa.Table) -> list[str]:
    """Rows as text that can be counted; floats to nine digits, without the sign of zero."""
    return [repr(_rounded(row)) for row in zip(*table.to_pydict().values(), strict=True)]


def _rounded(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.9g}") + 0.0
    return tuple(map(_rounded, value)) if isinstance(value, tuple) else value
