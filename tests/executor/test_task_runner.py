from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from flowgrid_executor.kernels import duckdb_kernel

from flowgrid.protocol.failures import FailureKind, FetchCause
from flowgrid.protocol.fragment import (
    BlocksLeaf,
    Field,
    RangeLeaf,
    RangeSplit,
    SqlStep,
)

NUMBERS = RangeLeaf("numbers", "i")
MANY = {"numbers": (RangeSplit(0, 100_000, 1),)}


def read_back(slot: Any, steps: Any = "SELECT sum(i) FROM got WHERE i > 0") -> Any:
    leaf = BlocksLeaf("got", 0, (Field("i", "BIGINT"),))
    return slot.fails(steps, [leaf], inputs=[slot.outputs(1, partitions=2)])


def test_a_missing_block_file_is_a_fetch_failure_by_its_producers_name(slot: Any) -> None:
    slot.write_numbers(stage=1, partitions=2)
    slot.file(1, 1).unlink()

    failure = read_back(slot)

    assert failure.kind is FailureKind.FETCH_FAILED
    assert str(failure.fetch.producer) == "job-1/stage-1/task-1#0"
    assert failure.fetch.holder.name == "a"
    assert failure.fetch.cause is FetchCause.MISSING


@pytest.mark.parametrize("at", ["first byte", "middle", "index", "last byte"])
def test_a_flipped_bit_is_a_fetch_failure_through_two_running_queries(slot: Any, at: str) -> None:
    slot.write_numbers(stage=1, partitions=2)
    file = slot.file(1, 1)
    data = bytearray(file.read_bytes())
    position = {"first byte": 0, "middle": len(data) // 2, "index": -40, "last byte": -1}[at]
    data[position] ^= 4
    file.write_bytes(data)

    failure = read_back(
        slot,
        [SqlStep("kept", "FROM got WHERE i >= 0"), SqlStep("result", "SELECT sum(i) FROM kept")],
    )

    assert failure.kind is FailureKind.FETCH_FAILED
    assert failure.fetch.producer.partition == 1
    assert failure.fetch.cause is FetchCause.CORRUPT


def test_a_cut_off_block_file_is_corrupt(slot: Any) -> None:
    slot.write_numbers(stage=1, partitions=2)
    file = slot.file(1, 1)
    for size in (0, 7, 100, file.stat().st_size - 1):
        os.truncate(file, size)
        assert read_back(slot).fetch.cause is FetchCause.CORRUPT
        slot.write_numbers(stage=1, partitions=2)


@pytest.mark.parametrize("place", ["first step", "last step"])
def test_data_that_the_kernel_refuses_is_a_query_error(slot: Any, place: str) -> None:
    bad = "SELECT CAST(CASE WHEN i = 99999 THEN 'x' ELSE '1' END AS INTEGER) AS v FROM numbers"
    steps = [SqlStep("a", bad), SqlStep("b", "SELECT sum(v) FROM a")][
        : 2 if "first" in place else 1
    ]
    failure = slot.fails(steps, [NUMBERS], splits=MANY)
    assert failure.kind is FailureKind.QUERY_ERROR
    assert "Could not convert string 'x' to INT32" in failure.message


def test_a_query_that_outgrows_its_memory_says_so_and_the_slot_lives_on(
    make_slot: Callable[..., Any],
) -> None:
    slot = make_slot(memory_bytes=64 << 20)
    query = "SELECT list(repeat('x', 1000) || i) FROM numbers"
    assert slot.fails(query, [NUMBERS], splits=MANY).kind is FailureKind.OUT_OF_MEMORY
    assert slot.rows("SELECT 1") == [(1,)]


def test_a_failed_attempt_leaves_no_file_and_no_view(slot: Any) -> None:
    query = "SELECT CASE WHEN i = 99999 THEN error('stop') ELSE 'go' END AS v FROM numbers"
    assert "stop" in slot.fails(query, [NUMBERS], splits=MANY).message
    assert [p for p in slot.directory.rglob("*") if p.is_file()] == []
    assert slot.fails("FROM numbers").kind is FailureKind.QUERY_ERROR


def test_a_full_disk_is_named(slot: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, views: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "writev", full)
    broke = slot.breaks("SELECT 1")
    assert (broke.failure.kind, broke.directory) == (FailureKind.DISK_FULL, str(slot.directory))
    assert str(slot.file()) in broke.failure.message
    assert [p for p in slot.directory.rglob("*") if p.is_file()] == []


def test_a_directory_that_is_gone_is_a_bad_disk_and_is_not_made_again(slot: Any) -> None:
    slot.directory.rmdir()
    broke = slot.breaks("SELECT 1")
    assert (broke.failure.kind, broke.directory) == (FailureKind.DISK_BAD, str(slot.directory))
    assert not slot.directory.exists()


def test_a_place_to_spill_that_is_full_or_bad_is_named_and_another_serves(
    make_slot: Callable[..., Any], tmp_path: Path
) -> None:
    sort = "SELECT i, hash(i) AS h FROM numbers ORDER BY h"
    large = {"numbers": (RangeSplit(0, 6_000_000, 1),)}
    slot = make_slot(memory_bytes=80 << 20)
    (slot.directory / "spill").touch()  # where a folder should be

    broke = slot.breaks(sort, [NUMBERS], splits=large)

    assert (broke.failure.kind, broke.directory) == (FailureKind.DISK_BAD, str(slot.directory))
    other = make_slot(tmp_path / "other", memory_bytes=80 << 20)
    assert other.run(sort, [NUMBERS], splits=large).rows == (6_000_000,)
    assert (other.directory / "spill").is_dir()
    third = make_slot(tmp_path / "third", memory_bytes=80 << 20)
    assert third.run(sort, [NUMBERS], splits=large).rows == (6_000_000,)
    assert (third.directory / "spill").is_dir()


def test_a_place_to_spill_without_room_is_named(
    make_slot: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def kernel_with_little_room() -> Any:
        connection = connect()
        connection.execute("SET max_temp_directory_size = '20MB'")
        return connection

    connect = duckdb_kernel._connect
    monkeypatch.setattr(duckdb_kernel, "_connect", kernel_with_little_room)
    slot = make_slot(memory_bytes=80 << 20)
    large = {"numbers": (RangeSplit(0, 6_000_000, 1),)}

    broke = slot.breaks("SELECT i, hash(i) AS h FROM numbers ORDER BY h", [NUMBERS], splits=large)

    assert (broke.failure.kind, broke.directory) == (FailureKind.OUT_OF_MEMORY, str(slot.directory))


def test_the_report_says_what_the_attempt_took(slot: Any) -> None:
    report = slot.run("SELECT sum(i) FROM numbers", [NUMBERS], splits=MANY)
    assert report.run_s > 0
    assert report.cpu_s > 0
    assert report.memory_bytes_max > 1 << 20
    assert report.bytes[0] > 0


def test_what_is_imported_before_the_fork_starts_no_thread_and_makes_no_kernel() -> None:
    program = (
        "import threading\n"
        "from flowgrid_executor import task_runner\n"
        "assert task_runner._kernel._connection is None\n"
        "print(threading.active_count())\n"
        "task_runner.warm_up()\n"
        "assert task_runner._kernel._connection is not None\n"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    told = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True
    )
    assert told.stdout.split() == [b"1"]


def test_a_slot_does_not_import_pandas_unless_a_user_does(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a\nb\n")
    program = f"""
import sys
from pathlib import Path
sys.path.insert(0, {str(Path(__file__).parent)!r})
from conftest import *
from flowgrid.protocol.fragment import *
slot = Slot(Path({str(tmp_path)!r}))
value = (Field("value", "VARCHAR"),)
text = FileLeaf("files", "text", value, value)
splits = {{"files": (FileSplit({str(tmp_path / "a.txt")!r}, -1, -1),)}}
hashed = BlocksOutput(3, "hash", "#hash")
query = 'SELECT *, hash(value) AS "#hash", true AS b FROM files'
slot.run(query, [text], hashed, splits=splits, stage=1)
got = BlocksLeaf("got", 0, value)
sink = SinkOutput("parquet", slot.directory.as_uri(), ("value",))
slot.run("FROM got", [got], sink, inputs=[slot.outputs(1)])
slot.run("SELECT 1")
print("pandas" in sys.modules)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    told = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True
    )
    assert told.stdout.split() == ["False"], told.stderr
