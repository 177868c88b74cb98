from __future__ import annotations

import errno
from pathlib import Path

import pyarrow as pa
import pytest

from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.io.blocks import BlockFile, BlockFileWriter
from flowgrid.io.stage_reader import Producer, StageReader, StageReadError
from flowgrid.protocol.blocks import file_name
from flowgrid.protocol.failures import FetchCause
from flowgrid.protocol.job_graph import NOTHING, ExecutorAddress, Slice, StageOutputs

SCHEMA = pa.schema({"n": pa.int64()})


class Stage:
    """Stage 4 of job 1: 3 partitions × 2 targets on two executors; rows are 10 × partition + target."""

    def __init__(self, folder: Path) -> None:
        self.addresses = tuple(
            ExecutorAddress(ExecutorId(name, 1), name, str(folder / name), "") for name in "ab"
        )
        self.outputs = StageOutputs(4, self.addresses, (0, 1, 0), (0, 2, 1))
        for partition in range(3):
            with BlockFileWriter(self.file(partition), SCHEMA, 2) as writer:
                for target in range(2):
                    batch = pa.record_batch({"n": [10 * partition + target]}, schema=SCHEMA)
                    writer.write(target, batch)
                writer.finish()

    def file(self, partition: int) -> Path:
        address = self.addresses[self.outputs.holders[partition]]
        attempt = AttemptId(1, 4, partition, self.outputs.attempts[partition])
        return Path(address.directory, file_name(attempt))

    def reader(self, slice_: Slice | None, host: str = "a") -> StageReader:
        def open_remote(address: ExecutorAddress, attempt: AttemptId) -> Producer:
            assert address.host != host
            self.asked.append(attempt)
            return BlockFile(Path(address.directory, file_name(attempt)))

        self.asked: list[AttemptId] = []
        return StageReader(1, self.outputs, slice_, host, open_remote)


@pytest.fixture
def stage(tmp_path: Path) -> Stage:
    return Stage(tmp_path)


def numbers(reader: StageReader) -> list[int]:
    return [n for batch in reader.batches() for n in batch.column("n").to_pylist()]


def test_rows_come_in_partition_order_and_then_in_target_order(stage: Stage) -> None:
    assert numbers(stage.reader(None)) == [0, 1, 10, 11, 20, 21]
    assert stage.asked == [AttemptId(1, 4, 1, 2)]


@pytest.mark.parametrize(
    ("slice_", "rows"),
    [
        (Slice(1, 2, 0, 3), [1, 11, 21]),
        (Slice(0, 2, 2, 3), [20, 21]),
        (Slice(0, 1, 1, 2), [10]),
        (Slice(1, 1, 0, 3), []),
        (NOTHING, []),
    ],
)
def test_a_slice_is_targets_times_partitions(stage: Stage, slice_: Slice, rows: list[int]) -> None:
    reader = stage.reader(slice_)
    assert numbers(reader) == rows
    assert reader.rows() == len(rows)
    assert numbers(reader) == rows
    assert (reader.schema() is None) == (not rows)


def test_a_file_is_opened_when_the_one_before_is_used_up(stage: Stage) -> None:
    reader = stage.reader(None)
    batches = reader.batches()
    next(batches)
    next(batches)
    assert stage.asked == []
    next(batches)
    assert len(stage.asked) == 1


def test_rows_are_counted_without_reading_them(stage: Stage) -> None:
    assert stage.reader(Slice(1, 2, 0, 3)).rows() == 3


def test_a_folder_that_is_not_here_is_asked_for_even_on_a_host_of_the_same_name(
    stage: Stage, tmp_path: Path
) -> None:
    asked = []

    def open_remote(address: ExecutorAddress, attempt: AttemptId) -> Producer:
        asked.append(address.host)
        return BlockFile(tmp_path / "moved" / file_name(attempt))

    (tmp_path / "a").rename(tmp_path / "moved")
    reader = StageReader(1, stage.outputs, Slice(0, 2, 0, 1), "a", open_remote)
    assert numbers(reader) == [0, 1]
    assert asked == ["a"]


def test_a_failure_names_producer_holder_and_cause(stage: Stage) -> None:
    def failure(host: str = "a") -> tuple[str, str, FetchCause]:
        with pytest.raises(StageReadError) as caught:
            numbers(stage.reader(None, host))
        found = caught.value.failure
        return str(found.producer), found.holder.name, found.cause

    whole = stage.file(2).read_bytes()
    stage.file(2).write_bytes(whole[:20] + b"\1" + whole[21:])
    assert failure() == ("job-1/stage-4/task-2#1", "a", FetchCause.CORRUPT)
    stage.file(2).write_bytes(whole[:-4])
    assert failure() == ("job-1/stage-4/task-2#1", "a", FetchCause.CORRUPT)
    stage.file(1).unlink()
    assert failure() == ("job-1/stage-4/task-1#2", "b", FetchCause.MISSING)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (ConnectionError("no"), FetchCause.UNREACHABLE),
        (TimeoutError("slow"), FetchCause.TIMEOUT),
        (FileNotFoundError("gone"), FetchCause.MISSING),
        (OSError(errno.EIO, "its disk is dead"), FetchCause.MISSING),
    ],
)
def test_what_the_other_host_says_becomes_a_cause(
    stage: Stage, error: OSError, cause: FetchCause
) -> None:
    def open_remote(address: ExecutorAddress, attempt: AttemptId) -> Producer:
        raise error

    with pytest.raises(StageReadError) as caught:
        numbers(StageReader(1, stage.outputs, None, "elsewhere", open_remote))
    assert caught.value.failure.cause is cause


def test_a_watch_is_told_for_whom_a_reader_waits_and_what_came(stage: Stage) -> None:
    told: list[tuple[object, ...]] = []

    class Watch:
        def waits(self, producer: AttemptId, holder: ExecutorId, patience_s: float) -> None:
            told.append((producer.partition, holder.name, patience_s > 0))

        def came(self, size: int) -> None:
            told.append((size,))

    def open_remote(address: ExecutorAddress, attempt: AttemptId) -> Producer:
        return BlockFile(Path(address.directory, file_name(attempt)))

    slice_ = Slice(0, 1, 0, 2)
    reader = StageReader(1, stage.outputs, slice_, "a", open_remote, Watch())
    assert numbers(reader) == [0, 10]
    mapped, remote = (0, "a", False), (1, "b", True)
    assert told == [mapped, (8,), mapped, (0,), remote, (0,), remote, (8,), remote, (0,)]
