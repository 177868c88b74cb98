"""A write publishes everything, once, or nothing."""

from __future__ import annotations

import glob
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import psutil
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
FORMATS = ("parquet", "csv", "json", "ipc")
Format = Literal["parquet", "csv", "json", "ipc"]
Mode = Literal["error", "overwrite", "append"]

each_format = pytest.mark.parametrize("format_", FORMATS)


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


def write(frame: fg.DataFrame, format_: Format, folder: Path, mode: Mode = "error") -> None:
    getattr(frame, f"write_{format_}")(str(folder), mode=mode)


def values(session: fg.Session, folder: Path, format_: Format = "parquet") -> list[int]:
    frame = getattr(session, f"read_{format_}")(str(folder))
    return sorted(frame.collect()["id"].to_pylist())


@each_format
def test_what_was_written_is_read_again(
    session: fg.Session, numbers: fg.DataFrame, tmp_path: Path, format_: Format
) -> None:
    write(numbers, format_, tmp_path / "out")
    assert values(session, tmp_path / "out", format_) == list(range(ROWS))


@each_format
def test_a_failing_task_publishes_nothing(
    numbers: fg.DataFrame, tmp_path: Path, format_: Format
) -> None:
    out = tmp_path / "out"
    with pytest.raises(errors.UserCodeError, match="not this one"):
        write(numbers.map_batches(fails_late, schema=SCHEMA), format_, out)
    assert not out.exists() or listing(out) == []
    assert listing(tmp_path) == []


@each_format
@pytest.mark.parametrize("mode", ["overwrite", "append"])
def test_a_failing_task_changes_nothing_that_is_there(
    session: fg.Session, numbers: fg.DataFrame, tmp_path: Path, mode: Mode, format_: Format
) -> None:
    out = tmp_path / "out"
    write(session.range(10), format_, out)
    before = listing(tmp_path)
    with pytest.raises(errors.UserCodeError):
        write(numbers.map_batches(fails_late, schema=SCHEMA), format_, out, mode)
    assert listing(tmp_path) == before
    assert values(session, out, format_) == list(range(10))


@each_format
def test_an_executor_that_is_killed_while_it_writes_leaves_no_row_twice_and_no_file(
    premises: Premises, tmp_path: Path, format_: Format
) -> None:
    out, struck = tmp_path / "out", str(tmp_path / "struck")
    batches: list[int] = []

    def kills_its_executor_once(batch: pa.RecordBatch) -> pa.RecordBatch:
        batches.append(batch.num_rows)
        staged = glob.glob(f"{out}/_flowgrid/*/*/part-*")
        if len(batches) > 5 and staged and not os.path.exists(struck):
            executor = psutil.Process(os.getppid()).parent()
            assert executor is not None
            os.close(os.open(struck, os.O_CREAT | os.O_EXCL))
            executor.kill()
            time.sleep(60)
        return batch

    with fg.connect("local-cluster[2,1,1024]", conf={"kernel.batch_rows": "2048"}) as session:
        numbers = session.range(ROWS).repartition(4)
        write(numbers.map_batches(kills_its_executor_once, schema=SCHEMA), format_, out)
        assert os.path.exists(struck)
        assert values(session, out, format_) == list(range(ROWS))
    published = [Path(path).suffix for path in listing(out) if path != "_SUCCESS"]
    assert set(published) == {f".{format_}"}


WRITES = """
import pathlib, signal, sys
import pyarrow as pa
import flowgrid as fg

out, format_, running = sys.argv[1:]

def waits(batch):
    if batch.column(0)[0].as_py():
        pathlib.Path(running).touch()
        signal.pause()
    return batch

with fg.connect("local-cluster[2,1,1024]") as session:
    numbers = session.range(100_000).repartition(4)
    frame = numbers.map_batches(waits, schema=pa.schema({"id": pa.int64()}))
    getattr(frame, f"write_{format_}")(out)
"""


@each_format
def test_what_a_killed_driver_staged_is_cleaned_up_and_what_a_living_one_stages_is_not(
    premises: Premises, tmp_path: Path, format_: Format
) -> None:
    out, running = tmp_path / "deep" / "out", tmp_path / "running"
    clean = ["clean", str(out), "--temp", str(premises.folder)]
    with Driver(WRITES, premises, str(out), format_, str(running)) as driver:
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


COMMITS = """
import os, signal, sys
import flowgrid as fg

out, format_, event, what, *numbers = sys.argv[1:]
left, start, stop = map(int, numbers)

def dies(name, arguments):
    global left
    if name == event and what in str(arguments[0]):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

with fg.connect("local-cluster[2,1,1024]") as session:
    frame = session.range(start, stop).repartition(2)
    frame.count()  # all that is imported and opened for the first time is there
    sys.addaudithook(dies)
    getattr(frame, f"write_{format_}")(out, mode="append")
"""


@each_format
def test_a_driver_that_dies_around_the_commit_point_has_published_all_or_nothing(
    session: fg.Session, premises: Premises, tmp_path: Path, format_: Format
) -> None:
    """Drivers append, one after another. They die before the commit point, just before it, when one of
    two files is in its place, and when none is."""
    out = tmp_path / "out"
    write(session.range(1_000), format_, out)
    clean = ["clean", str(out), "--temp", str(premises.folder)]
    for event, what, times, start, there in (
        ("open", "commit.json.tmp", 1, 1_000, 1_000),
        ("os.rename", "commit.json.tmp", 1, 1_000, 1_000),
        ("os.rename", "/part-", 2, 1_000, 2_000),
        ("os.rename", "/part-", 1, 2_000, 3_000),
    ):
        arguments = (str(out), format_, event, what, str(times), str(start), str(start + 1_000))
        with Driver(COMMITS, premises, *arguments) as driver:
            assert driver.process.wait(30) == -signal.SIGKILL, driver.output
        eventually("the cluster has ended", lambda: not premises.processes())
        assert any(path.startswith("_flowgrid/") for path in listing(out)), "it died too late"
        assert main(clean) == 0
        assert values(session, out, format_) == list(range(there))
        assert not any("_flowgrid" in path for path in listing(out))


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
