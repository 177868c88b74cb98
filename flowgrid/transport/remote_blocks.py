"""Blocks of other hosts in the shape in which stages are read: `flowgrid.io.stage_reader.Producer`.

Used by slots for their inputs and by drivers for results. One connection per executor, kept until
`close`. What the wire says is told apart as a file system would: gone is FileNotFoundError, and an
executor that does not answer is ConnectionError.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

import pyarrow as pa
import zmq

from flowgrid.closing import Closing
from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.io.blocks import decode_block, decode_schema
from flowgrid.protocol.job_graph import ExecutorAddress
from flowgrid.transport.block_client import BlockClient, BlockGoneError, BlockUnreachableError
from flowgrid.transport.security import Keys


class RemoteBlocks(Closing):
    """The connections of one reader to the executors it reads from. Belongs to one thread."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], keys: Keys | None) -> None:
        self._context = context
        self._keys = keys
        self._clients: dict[ExecutorId, BlockClient] = {}

    def open(self, address: ExecutorAddress, attempt: AttemptId) -> FetchedBlocks:
        """What `attempt` wrote at `address`. Raises OSError and `BlockCorruptError`."""
        client = self._clients.get(address.executor)
        if client is None:
            client = BlockClient(self._context, address.data_address, self._keys)
            self._clients[address.executor] = client
        return FetchedBlocks(client, attempt)

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()


class FetchedBlocks:
    """One attempt's blocks: the index at once, the blocks when they are read."""

    def __init__(self, client: BlockClient, attempt: AttemptId) -> None:
        self._client = client
        self._attempt = attempt
        with _as_file_errors():
            self.index = client.fetch_index(attempt)
        self.schema = decode_schema(self.index)

    def batches(self, targets: Iterable[int]) -> Iterator[pa.RecordBatch]:
        """The rows of each target. A whole block is in memory before its first row is given away,
        because only then its checksum is known."""
        blocks = [self.index.blocks[target] for target in targets]
        with _as_file_errors():
            arriving = self._client.fetch_blocks([(self._attempt, block) for block in blocks])
            for block in blocks:
                segments = [pa.py_buffer(next(arriving)[1]) for _ in block.segments]
                yield from decode_block(block, segments, self.schema)


@contextlib.contextmanager
def _as_file_errors() -> Iterator[None]:
    try:
        yield
    except BlockGoneError as error:
        raise FileNotFoundError(str(error)) from error
    except BlockUnreachableError as error:
        raise ConnectionError(str(error)) from error
