from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
import zmq

from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.io.blocks import BlockFileWriter
from flowgrid.io.stage_reader import StageReader, StageReadError
from flowgrid.protocol.blocks import file_name
from flowgrid.protocol.failures import FetchCause
from flowgrid.protocol.job_graph import ExecutorAddress, Slice, StageOutputs
from flowgrid.transport.block_server import BlockServer
from flowgrid.transport.remote_blocks import RemoteBlocks

SCHEMA = pa.schema({"n": pa.int64()})
ROWS = 200_000


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as context:
        yield context


@pytest.fixture
def server(context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path) -> Iterator[BlockServer]:
    server = BlockServer(context, "tcp://127.0.0.1:0", [tmp_path])
    yield server
    server.close()


@pytest.fixture
def remote(context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[RemoteBlocks]:
    with RemoteBlocks(context, None) as remote:
        yield remote


def write(folder: Path) -> None:
    """Two producers with two targets: rows p·10⁶ + t·ROWS + 0 … ROWS−1, in two segments."""
    for partition in range(2):
        path = folder / file_name(AttemptId(1, 0, partition, 0))
        with BlockFileWriter(path, SCHEMA, 2) as writer:
            for target in range(2):
                start = partition * 10**6 + target * ROWS
                batch = pa.record_batch({"n": range(start, start + ROWS)}, schema=SCHEMA)
                writer.write(target, batch.slice(0, 7))
                writer.write(target, batch.slice(7))
            writer.finish()


def reader(address: str, remote: RemoteBlocks, slice_: Slice | None = None) -> StageReader:
    there = ExecutorAddress(ExecutorId("b", 1), "another host", "/nowhere", address)
    outputs = StageOutputs(0, (there,), (0, 0), (0, 0))
    return StageReader(1, outputs, slice_, "this host", remote.open)


def test_blocks_of_another_host_arrive_as_they_were_written(
    server: BlockServer, remote: RemoteBlocks, tmp_path: Path
) -> None:
    write(tmp_path)
    stage = reader(server.address, remote)
    found = [n for batch in stage.batches() for n in batch.column("n").to_pylist()]
    assert found == [p * 10**6 + n for p in range(2) for n in range(2 * ROWS)]

    part = reader(server.address, remote, Slice(1, 2, 1, 2))
    assert part.rows() == ROWS
    assert next(part.batches()).column("n")[0].as_py() == 10**6 + ROWS


def test_what_goes_wrong_on_the_wire_has_a_cause(
    server: BlockServer, remote: RemoteBlocks, tmp_path: Path
) -> None:
    def cause(address: str) -> FetchCause:
        with pytest.raises(StageReadError) as caught:
            list(reader(address, remote).batches())
        assert caught.value.failure.producer == AttemptId(1, 0, 1, 0)
        return caught.value.failure.cause

    write(tmp_path)
    path = tmp_path / file_name(AttemptId(1, 0, 1, 0))
    whole = path.read_bytes()
    path.write_bytes(whole[:3000] + bytes([whole[3000] ^ 1]) + whole[3001:])
    assert cause(server.address) is FetchCause.CORRUPT
    path.unlink()
    assert cause(server.address) is FetchCause.MISSING


def test_nobody_there_is_unreachable(remote: RemoteBlocks) -> None:
    with pytest.raises(StageReadError) as caught:
        list(reader("tcp://127.0.0.1:1", remote).batches())
    assert caught.value.failure.cause is FetchCause.UNREACHABLE
