"""A task's rows to its block file: chunk by chunk, each row to its target, in order.

Every batch comes with one more column, `ROW_HASH`, which the kernel computes over all columns of the
row. Their sum per block is the block's digest: the same for the same rows in any order.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from flowgrid.config import MIB
from flowgrid.io.arrow_types import stored_schema, to_stored
from flowgrid.io.blocks import BlockFileWriter, Written
from flowgrid.protocol.fragment import BlocksOutput
from flowgrid_executor.shuffle.columns import gather, numbers_of
from flowgrid_executor.shuffle.partitioner import Partitioner, group_rows

ROW_HASH = "#row"

_SEGMENT_ROWS = 4096
"""Rows that a segment should have: with many targets, several batches are gathered together."""

CHUNK_BYTES_MAX = 32 * MIB
"""Bytes gathered together at most, however small the segments then are."""


def write_blocks(
    path: Path,
    output: BlocksOutput,
    partition: int,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    bounds: pa.Array | None = None,
    chunk_bytes_max: int = CHUNK_BYTES_MAX,
) -> Written:
    """Write a task's rows as one block per target. Raises OSError and what `batches` raises.

    `bounds` are the sort keys at which ranges begin, if rows go to ranges. Some four copies of
    `chunk_bytes_max` are in memory at a time.
    """
    payload = [name for name in schema.names if name not in (ROW_HASH, output.column)]
    stored = stored_schema(pa.schema([schema.field(name) for name in payload]))
    with BlockFileWriter(path, stored, output.target_count) as writer:
        if output.target_count == 1:
            for batch in batches:
                digest = _digest(numbers_of(batch.column(ROW_HASH)))
                writer.write(0, to_stored(batch.select(payload), stored), digest)
        else:
            partitioner = Partitioner(output, partition, bounds)
            for chunk in _chunks(batches, output.target_count, chunk_bytes_max):
                targets = partitioner.targets(chunk)
                if output.numbered:
                    numbered = chunk.schema.get_field_index(output.numbered)
                    numbers = pa.array(targets.astype(np.int64, copy=False))
                    chunk = chunk.set_column(numbered, output.numbered, numbers)
                _write_chunk(writer, chunk, targets, output.target_count, payload, stored)
        return writer.finish()


def _write_chunk(
    writer: BlockFileWriter,
    chunk: pa.RecordBatch,
    targets: npt.NDArray[np.integer],
    target_count: int,
    payload: list[str],
    stored: pa.Schema,
) -> None:
    order, bounds = group_rows(targets, target_count)
    hashes = numbers_of(chunk.column(ROW_HASH)).take(order)
    # Long values of a BLOB move once, when they are brought behind each other in their new order.
    moved = pa.schema(
        [
            field.with_type(given.type) if pa.types.is_binary_view(given.type) else field
            for field, given in zip(stored, map(chunk.schema.field, payload), strict=True)
        ]
    )
    rows = to_stored(gather(to_stored(chunk.select(payload), moved), order), stored)
    for target in np.flatnonzero(np.diff(bounds)).tolist():
        start, stop = int(bounds[target]), int(bounds[target + 1])
        writer.write(target, rows.slice(start, stop - start), _digest(hashes[start:stop]))


def _chunks(
    batches: Iterable[pa.RecordBatch], target_count: int, bytes_max: int
) -> Iterator[pa.RecordBatch]:
    """Batches put together until each target can expect a segment worth its overhead."""
    held: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        held.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= target_count * _SEGMENT_ROWS or size >= bytes_max:
            yield held[0] if len(held) == 1 else pa.concat_batches(held)
            held, rows, size = [], 0, 0
    if held:
        yield held[0] if len(held) == 1 else pa.concat_batches(held)


def _digest(hashes: npt.NDArray[np.uint64]) -> int:
    return int(hashes.sum(dtype=np.uint64))
