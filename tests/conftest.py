"""What every test may ask for: a seed that is printed, and the TPC-H tables."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from benchmarks import datasets

TPCH_SCALE = 0.05


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--update-golden", action="store_true", help="write the files in tests/golden anew"
    )


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """A new seed for every run, printed with a failure; `FLOWGRID_TEST_SEED` repeats one."""
    chosen = int(os.environ.get("FLOWGRID_TEST_SEED") or random.SystemRandom().getrandbits(32))
    print(f"repeat with FLOWGRID_TEST_SEED={chosen} pytest '{request.node.nodeid}'")
    return chosen


@pytest.fixture(scope="session")
def tpch_data() -> Path:
    """A folder with the TPC-H tables at `TPCH_SCALE`, one Parquet file each."""
    return datasets.tpch(TPCH_SCALE)


@pytest.fixture(scope="session", autouse=True)
def _temporary_folder_is_chosen(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Before a test that gives drivers another TMPDIR, in which it wants nothing to stay."""
    tmp_path_factory.getbasetemp()
