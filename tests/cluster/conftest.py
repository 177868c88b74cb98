"""Places for drivers to live in, and sessions that several tests share."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flowgrid as fg
from benchmarks.datasets import TPCH_TABLES
from tests.cluster.census import Premises, moved_in


@pytest.fixture
def premises() -> Iterator[Premises]:
    """A place for one test's drivers; the test fails if anything is left in there."""
    with moved_in() as place:
        yield place


@pytest.fixture(scope="module")
def shared_premises() -> Iterator[Premises]:
    with moved_in() as place:
        yield place


@pytest.fixture
def open_tpch(tpch_data: Path) -> Callable[[fg.Session], None]:
    """Registers the TPC-H tables in a session."""

    def register(session: fg.Session) -> None:
        for table in TPCH_TABLES:
            session.register(table, session.read_parquet(str(tpch_data / f"{table}.parquet")))

    return register


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything in here starts real processes."""
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.cluster)
