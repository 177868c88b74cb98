"""Whole block files from one executor's directory to another's."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import zmq
from flowgrid_executor.block_copier import BlockCopier
from flowgrid_executor.events import BlocksFetched, FetchBlocks

from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.io.blocks import BlockFileWriter
from flowgrid.protocol.blocks import file_name
from flowgrid.protocol.job_graph import ExecutorAddress
from flowgrid.transport.block_server import BlockServer
from tests.cluster.deadlines import eventually

ATTEMPT = AttemptId(1, 0, 3, 1)
ROWS = pa.record_batch({"n": list(range(10_000))})


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as opened:
        yield opened


@pytest.fixture
def source(context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path) -> Iterator[ExecutorAddress]:
    """An executor's directory with one block file in it: two targets with rows, one without."""
    directory = tmp_path / "source"
    directory.mkdir()
    with BlockFileWriter(directory / file_name(ATTEMPT), ROWS.schema, 3) as writer:
        for target in (0, 2, 0):
            writer.write(target, ROWS, digest=7)
        writer.finish()
    with contextlib.closing(BlockServer(context, "tcp://127.0.0.1:0", [directory])) as server:
        yield ExecutorAddress(ExecutorId("e", 1), "here", str(directory), server.address)


def copy(
    context: zmq.Context[zmq.Socket[bytes]], source: ExecutorAddress, host: str, directory: Path
) -> BlocksFetched:
    with contextlib.closing(BlockCopier(context, None, host)) as copier:
        directory.mkdir(exist_ok=True)
        copier.fetch(FetchBlocks(ATTEMPT, source, str(directory)))
        (ended,) = eventually("the copy ends", copier.ended)
        return ended


def test_on_the_same_host_a_file_gets_a_second_name(
    context: zmq.Context[zmq.Socket[bytes]], source: ExecutorAddress, tmp_path: Path
) -> None:
    assert copy(context, source, "here", tmp_path / "target") == BlocksFetched(ATTEMPT)
    original = Path(source.directory, file_name(ATTEMPT))
    assert (tmp_path / "target" / file_name(ATTEMPT)).samefile(original)


def test_from_another_host_the_same_bytes_come(
    context: zmq.Context[zmq.Socket[bytes]], source: ExecutorAddress, tmp_path: Path
) -> None:
    assert copy(context, source, "there", tmp_path / "target") == BlocksFetched(ATTEMPT)
    original = Path(source.directory, file_name(ATTEMPT))
    fetched = tmp_path / "target" / file_name(ATTEMPT)
    assert not fetched.samefile(original)
    assert fetched.read_bytes() == original.read_bytes()


def test_a_file_that_is_not_there_or_is_corrupt_is_no_copy(
    context: zmq.Context[zmq.Socket[bytes]], source: ExecutorAddress, tmp_path: Path
) -> None:
    original = Path(source.directory, file_name(ATTEMPT))
    data = bytearray(original.read_bytes())
    data[500] ^= 1
    original.write_bytes(data)
    assert "not those that were written" in copy(context, source, "there", tmp_path / "t").error

    original.unlink()
    assert copy(context, source, "there", tmp_path / "t").error
    assert copy(context, source, "here", tmp_path / "t").error
    assert [path for path in (tmp_path / "t").rglob("*") if path.is_file()] == []
