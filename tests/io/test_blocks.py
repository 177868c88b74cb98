from __future__ import annotations

import gc
import os
from pathlib import Path

import pyarrow as pa
import pytest

from flowgrid.io.blocks import BlockFile, BlockFileWriter, Written
from flowgrid.protocol.blocks import BlockCorruptError

SCHEMA = pa.schema({"a": pa.int64(), "b": pa.string()})


def batch(*numbers: int) -> pa.RecordBatch:
    return pa.record_batch({"a": numbers, "b": [f"b{n}" for n in numbers]}, schema=SCHEMA)


def write(path: Path) -> Written:
    with BlockFileWriter(path, SCHEMA, 3) as writer:
        writer.write(0, batch(1, 2), digest=2**64 - 1)
        writer.write(2, batch(3))
        writer.write(0, batch(4), digest=5)
        return writer.finish()


def test_blocks_come_back_segment_by_segment(tmp_path: Path) -> None:
    written = write(tmp_path / "job" / "file")
    file = BlockFile(tmp_path / "job" / "file")
    assert list(file.batches([0])) == [batch(1, 2), batch(4)]
    assert list(file.batches([1])) == []
    assert list(file.batches(range(3))) == [batch(1, 2), batch(4), batch(3)]
    assert file.schema == SCHEMA
    assert written.rows == (3, 0, 1)
    assert written.bytes == tuple(block.bytes for block in file.index.blocks)
    assert [block.digest for block in file.index.blocks] == [4, 0, 0]


def test_the_digest_says_which_rows_went_to_which_target(tmp_path: Path) -> None:
    def digest(*rows: tuple[int, int]) -> int:
        with BlockFileWriter(tmp_path / "file", SCHEMA, 3) as writer:
            for target, row_hash in rows:
                writer.write(target, batch(row_hash), row_hash)
            return writer.finish().digest

    assert digest((0, 7), (0, 8), (1, 9)) == digest((1, 9), (0, 8), (0, 7)), "in any order"
    assert digest((0, 7)) != digest((1, 7))
    assert digest((0, 7)) != digest((0, 8))


def test_the_file_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with BlockFileWriter(path, SCHEMA, 1) as writer:
        writer.write(0, batch(1))
        assert os.listdir(tmp_path) == ["file.tmp"]
        writer.finish()
    assert os.listdir(tmp_path) == ["file"]


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        with BlockFileWriter(tmp_path / "file", SCHEMA, 1) as writer:
            writer.write(0, batch(1))
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert os.listdir(tmp_path) == []


def test_a_file_without_rows_has_its_schema(tmp_path: Path) -> None:
    with BlockFileWriter(tmp_path / "file", SCHEMA, 2) as writer:
        written = writer.finish()
    assert (written.rows, written.bytes) == ((0, 0), (0, 0))
    file = BlockFile(tmp_path / "file")
    assert file.schema == SCHEMA
    assert list(file.batches([0, 1])) == []


def test_batches_outlive_their_file(tmp_path: Path) -> None:
    write(tmp_path / "file")
    batches = list(BlockFile(tmp_path / "file").batches([0]))
    (tmp_path / "file").unlink()
    gc.collect()
    assert batches == [batch(1, 2), batch(4)]


def test_reading_copies_nothing(tmp_path: Path) -> None:
    with BlockFileWriter(tmp_path / "file", SCHEMA, 1) as writer:
        writer.write(0, batch(*range(100_000)))
        writer.finish()
    before = pa.total_allocated_bytes()
    (found,) = BlockFile(tmp_path / "file").batches([0])
    assert found.num_rows == 100_000
    assert pa.total_allocated_bytes() - before < 10_000


def test_reading_a_large_file_keeps_little_of_it_in_the_process(tmp_path: Path) -> None:
    numbers = pa.record_batch({"a": pa.array(range(1 << 17))})
    with BlockFileWriter(tmp_path / "file", numbers.schema, 1) as writer:
        for _ in range(256):
            writer.write(0, numbers)
        writer.finish()
    assert os.path.getsize(tmp_path / "file") > 256 << 20
    file = BlockFile(tmp_path / "file")
    before = mapped_bytes()
    most, kept = 0, []
    for at, found in enumerate(file.batches([0])):
        most = max(most, mapped_bytes() - before)
        if at % 64 == 0:
            kept.append(found)
    assert most < 100 << 20
    assert kept == [numbers] * 4  # although the process had let go of their pages


def mapped_bytes() -> int:
    """Pages of files that this process has in its memory."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("RssFile:"))
    return int(line.split()[1]) << 10


def test_any_flipped_byte_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path)
    whole = path.read_bytes()
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(BlockCorruptError):
            list(BlockFile(path).batches(range(3)))


def test_a_file_that_was_cut_off_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write(path)
    whole = path.read_bytes()
    for size in range(len(whole)):
        path.write_bytes(whole[:size])
        with pytest.raises(BlockCorruptError):
            list(BlockFile(path).batches(range(3)))


def test_a_file_that_is_not_there_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        BlockFile(tmp_path / "file")
