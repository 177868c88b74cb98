"""Tables in the driver's memory, as stages whose blocks the driver itself holds.

A table is written once, however many jobs read it, and its blocks go with the frame or the session.
Executors on this host map the files; others ask the driver's block server.
"""

from __future__ import annotations

import os
import tempfile
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import msgspec
import zmq

from flowgrid.config import MIB
from flowgrid.ids import AttemptId, ExecutorId, StageId
from flowgrid.protocol.blocks import file_name
from flowgrid.protocol.job_graph import ExecutorAddress, OutputKind, StageOutputs, StageSpec
from flowgrid.submit.leftovers import PREFIX, make_locked, remove, remove_stale
from flowgrid.transport.host import host_identity
from flowgrid.transport.security import Keys

if TYPE_CHECKING:
    import pyarrow as pa

    from flowgrid.logical.nodes import GivenTable
    from flowgrid.transport.block_server import BlockServer

PARTITION_BYTES = 16 * MIB
"""A table is cut into partitions of about this size, so that tasks can share it."""

_DRIVERS_JOB = 0
"""Jobs are numbered from 1: what the driver wrote itself belongs to none."""


class GivenTables:
    """The tables of one session. `directory` is made when the first table comes."""

    def __init__(
        self,
        parent: Path | None,
        bind: str | None,
        keys: Keys | None,
        partition_bytes: int = PARTITION_BYTES,
    ) -> None:
        """`bind` is where executors on other hosts may ask for blocks; None if there are none."""
        self._parent = parent
        self._partition_bytes = partition_bytes
        self._bind = bind
        self._keys = keys
        self._lock = threading.Lock()
        self._address: ExecutorAddress | None = None
        self._server: BlockServer | None = None
        self._written: WeakKeyDictionary[GivenTable, StageSpec] = WeakKeyDictionary()
        self._context: zmq.Context[zmq.Socket[bytes]]
        self._lives: int
        """Our lock on the directory, while there is one."""
        self._count = 0

    def give(self, number: int, node: GivenTable) -> StageSpec:
        """The table as stage `number` of a job. Raises OSError where there is no room for it."""
        with self._lock:
            spec = self._written.get(node)
            if spec is None:
                spec = self._written[node] = self._write(node)
        assert spec.given is not None
        given = msgspec.structs.replace(spec.given, stage=number)
        return msgspec.structs.replace(spec, number=number, given=given)

    def close(self) -> None:
        """Remove all tables; called again it does nothing."""
        with self._lock:
            if self._server is not None:
                self._server.close()
                self._context.term()
                self._server = None
            if self._address is not None:
                remove(Path(self._address.directory))
                os.close(self._lives)
                self._address = None

    def _write(self, node: GivenTable) -> StageSpec:
        from flowgrid.io.arrow_types import stored_schema, to_stored  # pyarrow: 0.3 s
        from flowgrid.io.blocks import BlockFileWriter

        address = self._open()
        self._count += 1
        schema = stored_schema(node.table.schema)
        rows, paths = [], []
        for partition, batches in enumerate(_partitions(node.table, self._partition_bytes)):
            attempt = AttemptId(_DRIVERS_JOB, self._count, partition, 0)
            paths.append(path := Path(address.directory, file_name(attempt)))
            with BlockFileWriter(path, schema, 1) as writer:
                for batch in batches:
                    writer.write(0, to_stored(batch, schema))
                rows.append(writer.finish().rows)
        weakref.finalize(node, _remove, paths)
        outputs = StageOutputs(
            stage=0,
            executors=(address,),
            holders=(0,) * len(rows),
            attempts=(0,) * len(rows),
            written_as=StageId(_DRIVERS_JOB, self._count),
        )
        return StageSpec(
            number=0,
            label=node.describe(),
            partition_count=len(rows),
            output=OutputKind.BLOCKS,
            given=outputs,
            given_rows=tuple(rows),
        )

    def _open(self) -> ExecutorAddress:
        if self._address is None:
            incarnation = int.from_bytes(os.urandom(8))
            parent = self._parent
            if parent is None:
                parent = Path(tempfile.gettempdir())
                threading.Thread(target=remove_stale, args=(parent,), daemon=True).start()
            path, self._lives = make_locked(parent / f"{PREFIX}driver-{incarnation:016x}")
            directory = str(path)
            data_address = ""
            if self._bind is not None:
                from flowgrid.transport.block_server import BlockServer

                self._context = zmq.Context()
                self._server = BlockServer(self._context, self._bind, [Path(directory)], self._keys)
                data_address = self._server.address
            self._address = ExecutorAddress(
                ExecutorId("driver", incarnation), host_identity(), directory, data_address
            )
        return self._address


def _remove(paths: list[Path]) -> None:
    for path in paths:
        path.unlink(missing_ok=True)


def _partitions(table: pa.Table, bytes_: int) -> Iterator[list[pa.RecordBatch]]:
    """The table's batches in shares of about so many bytes; one, empty, for no rows."""
    rows = max(1, int(table.num_rows * bytes_ / max(table.nbytes, 1)))
    for start in range(0, max(1, table.num_rows), rows):
        # Arrow takes any length for the slice of a table without columns.
        length = min(rows, table.num_rows - start)
        yield table.slice(start, length).combine_chunks().to_batches()
