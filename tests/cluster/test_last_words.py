"""A slot that dies between its last byte and its report: what it wrote is nobody's, and is written
again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import flowgrid as fg
from flowgrid.submit.client import ask_status
from tests.cluster import dying_runner
from tests.cluster.census import Premises
from tests.cluster.deadlines import eventually
from tests.cluster.heavy import SHUFFLES, require_right, shuffled
from tests.cluster.standalone import standalone

pytestmark = pytest.mark.xdist_group("last-words")

RUNNER = "tests.cluster.dying_runner:run_attempt"
ROWS = 10_000


@pytest.fixture
def died(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Has a file for each task whose first attempt died."""
    folder = tmp_path / "died"
    folder.mkdir()
    monkeypatch.setenv(dying_runner.DIES, str(folder))
    return folder


@pytest.fixture
def session(premises: Premises, died: Path) -> Iterator[fg.Session]:
    with (
        standalone(premises, runner=RUNNER) as cluster,
        fg.connect(cluster.address, conf=SHUFFLES) as opened,
    ):
        # For one slot a plan would be one task.
        eventually(
            "both executors are there",
            lambda: len(ask_status(cluster.address, None, 5.0).executors) == 2,
            within_s=20,
        )
        yield opened


def test_blocks_that_nobody_reported_are_not_read(session: fg.Session, died: Path) -> None:
    require_right(shuffled(session), within_s=60)
    assert len(list(died.iterdir())) > 4, "every task dies once"


def test_files_that_nobody_reported_are_not_published(
    session: fg.Session, died: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    session.range(ROWS).repartition(4).write_parquet(str(out))
    assert list(died.iterdir()), "every task dies once"
    assert sum(pq.read_metadata(path).num_rows for path in out.glob("*.parquet")) == ROWS
    assert not (out / "_flowgrid").exists()
