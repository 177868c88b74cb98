"""A write publishes everything, once, or nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pytest

import flowgrid as fg
from flowgrid import errors
from flowgrid.cli.main import main
from tests.cluster.census import Premises
from tests.cluster.deadlines import eventually
from tests.cluster.drivers import Driver

pytestmark = pytest.mark.xdist_group("sinks")

ROWS = 100_000
SCHEMA = pa.schema({"id": pa.int64()})


@pytest.fixture(scope="module")
def session(shared_premises: Premises) -> Iterator[fg.Session]:
    with fg.connect("local-cluster[2,1,1024]") as opened:
        yield opened


@pytest.fixture
def numbers(session: fg.Session) -> fg.DataFrame:
    return session.range(ROWS).repartition(4)


def fails_late(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Other tasks have written their files before this one gives up."""
    if ROWS - 1 in batch.column(0).to_pylist():
        raise ValueError("no, not this one")
    return batch


def listing(folder: Path) -> list[str]:
    """Every file below, as seen from the outside."""
    return sorted(
        os.path.relpath(os.path.join(parent, name), folder)
        for parent, _, names in os.walk(folder)
        for name in names
    )


def values(session: fg.Session, folder: Path) -> list[int]:
    return sorted(session.read_parquet(str(folder)).collect()["id"].to_pylist())


def test_what_was_written_is_read_again(
    session: fg.Session, numbers: fg.DataFrame, tmp_path: Path
) -> None:
    numbers.write_parquet(str(tmp_path / "out"))
    assert values(session, tmp_path / "out") == list(range(ROWS))


@pytest.mark.parametrize("format_", ["csv", "json", "ipc"])
def test_every_format_comes_back(
    session: fg.Session, numbers: fg.DataFrame, tmp_path: Path, format_: str
) -> None:
    out = str(tmp_path / "out")
    getattr(numbers, f"write_{format_}")(out)
    again = getattr(session, f"read_{format_}")(out).collect()
    assert sorted(again["id"].to_pylist()) == list(range(ROWS))


def test_a_failing_task_publishes_nothing(numbers: fg.DataFrame, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(errors.UserCodeError, match="not this one"):
        numbers.map_batches(fails_late, schema=SCHEMA).write_parquet(str(out))
    assert not out.exists() or listing(out) == []
    assert listing(tmp_path) == []


@pytest.mark.parametrize("mode", ["overwrite", "append"])
def test_a_failing_task_changes_nothing_that_is_there(
    session: fg.Session, numbers: fg.DataFrame, tmp_path: Path, mode: Literal["overwrite", "append"]
) -> None:
    out = tmp_path / "out"
    session.range(10).write_parquet(str(out))
    before = listing(tmp_path)
    with pytest.raises(errors.UserCodeError):
        numbers.map_batches(fails_late, schema=SCHEMA).write_parquet(str(out), mode=mode)
    assert listing(tmp_path) == before
    assert values(session, out) == list(range(10))


WRITES = """
import pathlib, signal, sys
import pyarrow as pa
import flowgrid as fg

out, running = sys.argv[1:]

def waits(batch):
    if batch.column(0)[0].as_py():
        pathlib.Path(running).touch()
        signal.pause()
    return batch

with fg.connect("local-cluster[2,1,1024]") as session:
    numbers = session.range(100_000).repartition(4)
    numbers.map_batches(waits, schema=pa.schema({"id": pa.int64()})).write_parquet(out)
"""


def test_what_a_killed_driver_staged_is_cleaned_up_and_what_a_living_one_stages_is_not(
    premises: Premises, tmp_path: Path
) -> None:
    out, running = tmp_path / "deep" / "out", tmp_path / "running"
    clean = ["clean", str(out), "--temp", str(premises.folder)]
    with Driver(WRITES, premises, str(out), str(running)) as driver:
        eventually("the job runs", lambda: driver.reaches(running), within_s=30)
        staged = listing(out)
        assert staged
        assert all(path.startswith("_flowgrid/") for path in staged)
        assert main(clean) == 0
        assert set(listing(out)) >= set(staged)
        driver.process.kill()
        driver.process.wait()
    eventually("the cluster has ended", lambda: not premises.processes())
    assert main(clean) == 0
    assert not (tmp_path / "deep").exists()


def test_overwrite_replaces_and_append_adds(session: fg.Session, tmp_path: Path) -> None:
    out = tmp_path / "out"
    session.range(10).write_parquet(str(out))
    session.range(10, 20).write_parquet(str(out), mode="append")
    assert values(session, out) == list(range(20))
    session.range(3).write_parquet(str(out), mode="overwrite")
    assert values(session, out) == [0, 1, 2]


def test_partitions_become_folders(session: fg.Session, tmp_path: Path) -> None:
    out = tmp_path / "out"
    by_parity = session.range(10).with_columns((fg.col("id") % 2).alias("parity"))
    by_parity.write_parquet(str(out), partition_by=["parity"])
    assert {path.name for path in out.iterdir() if path.is_dir()} == {"parity=0", "parity=1"}
    assert session.read_parquet(str(out)).count() == 10
