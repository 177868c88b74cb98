"""Block files on this machine: written once, then mapped by whoever reads them.

The layout is fixed in `flowgrid.protocol.blocks`. Slots write what they computed; a driver writes the
tables that a user hands in. Readers check the file's length, its index and each block's checksum before
a byte of it is used, because a wrong answer is worse than a recomputed one.
"""

from __future__ import annotations

import mmap
import os
from array import array
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import xxhash

from flowgrid.closing import Closing
from flowgrid.config import MIB
from flowgrid.protocol.blocks import (
    Block,
    BlockCorruptError,
    BlockIndex,
    encode_index,
    read_index,
)

_UINT64 = (1 << 64) - 1

_UNWRITTEN_BYTES_MAX = 4 * MIB
"""Segments wait for each other up to this size, so that the disk sees few and large writes."""

_RESIDENT_BYTES_MAX = 16 * MIB
"""Of a mapped file that is read through; what is behind leaves the process, not the page cache."""

_BUFFERS_PER_WRITE_MAX = 512
"""Below the 1024 that Linux takes in one `writev`."""


class Written(NamedTuple):
    """Rows and bytes per target of a finished block file, and one digest of all its targets' digests."""

    rows: tuple[int, ...]
    bytes: tuple[int, ...]
    digest: int


class _Target:
    """What has been written for one target so far."""

    __slots__ = ("checksum", "digest", "rows", "segments")

    def __init__(self) -> None:
        self.segments: list[tuple[int, int]] = []
        self.rows = 0
        self.digest = 0
        self.checksum = xxhash.xxh3_64()


class BlockFileWriter(Closing):
    """Writes ``path + ".tmp"``; `finish` gives it its name, leaving the context without it deletes it.

    Raises OSError as the file system does: ENOSPC and EIO are the caller's to tell apart.
    """

    def __init__(self, path: Path, schema: pa.Schema, target_count: int) -> None:
        self.path = path
        self._temporary = path.with_name(path.name + ".tmp")
        self._schema = schema
        self._targets = [_Target() for _ in range(target_count)]
        self._offset = 0
        self._unwritten: list[pa.Buffer] = []
        self._unwritten_bytes = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self._temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)

    def close(self) -> None:
        if self._file >= 0:
            os.close(self._file)
            self._file = -1
            self._temporary.unlink(missing_ok=True)

    def write(self, target: int, batch: pa.RecordBatch, digest: int = 0) -> None:
        """Append rows to a target's block; `digest` is the sum of their hashes."""
        segment = batch.serialize()
        entry = self._targets[target]
        entry.checksum.update(segment)
        entry.segments.append((self._offset, segment.size))
        entry.rows += batch.num_rows
        entry.digest = (entry.digest + digest) & _UINT64
        self._append(segment)

    def finish(self) -> Written:
        """Write the index and give the file its name. From here on it never changes."""
        blocks = tuple(
            Block(tuple(t.segments), t.rows, t.checksum.intdigest(), t.digest)
            for t in self._targets
        )
        index = BlockIndex(self._schema.serialize().to_pybytes(), blocks)
        self._append(pa.py_buffer(encode_index(index)))
        self._flush()
        os.close(self._file)
        self._file = -1
        self._temporary.rename(self.path)
        return Written(
            tuple(block.rows for block in blocks),
            tuple(block.bytes for block in blocks),
            _digest_of(blocks),
        )

    def _append(self, data: pa.Buffer) -> None:
        self._offset += data.size
        self._unwritten.append(data)
        self._unwritten_bytes += data.size
        if (
            self._unwritten_bytes >= _UNWRITTEN_BYTES_MAX
            or len(self._unwritten) >= _BUFFERS_PER_WRITE_MAX
        ):
            self._flush()

    def _flush(self) -> None:
        views = [memoryview(data) for data in self._unwritten]
        while views:
            written = os.writev(self._file, views)
            while views and written >= len(views[0]):
                written -= len(views.pop(0))
            if written:
                views[0] = views[0][written:]
        self._unwritten.clear()
        self._unwritten_bytes = 0


def _digest_of(blocks: tuple[Block, ...]) -> int:
    return xxhash.xxh3_64_intdigest(array("Q", (block.digest for block in blocks)).tobytes())


def decode_schema(index: BlockIndex) -> pa.Schema:
    """The Arrow schema of a block file. Raises `BlockCorruptError`."""
    try:
        return pa.ipc.read_schema(pa.py_buffer(index.schema))
    except (pa.ArrowException, OSError) as error:
        raise BlockCorruptError(f"schema of a block file cannot be read: {error}") from None


def decode_block(
    block: Block,
    segments: list[pa.Buffer],
    schema: pa.Schema,
    used: Callable[[pa.Buffer], None] | None = None,
) -> list[pa.RecordBatch]:
    """The block's batches, without a copy, after its checksum was found right.

    `used` is told of each segment that was looked at. Raises `BlockCorruptError` for
    wrong bytes and for a number of rows that the index does not say.
    """
    checksum = xxhash.xxh3_64()
    batches = []
    try:
        for segment in segments:
            checksum.update(segment)
            # Nobody uses it before the checksum is known; later this would touch all segments again.
            batches.append(pa.ipc.read_record_batch(segment, schema))
            if used is not None:
                used(segment)
    except (pa.ArrowException, OSError) as error:
        raise BlockCorruptError(f"segment of a block cannot be read: {error}") from None
    if checksum.intdigest() != block.checksum:
        raise BlockCorruptError("checksum of a block differs from its index")
    rows = sum(batch.num_rows for batch in batches)
    if rows != block.rows:
        raise BlockCorruptError(f"block holds {rows} rows and its index says {block.rows}")
    return batches


class BlockFile:
    """One mapped block file. The mapping lives as long as a batch that was read from it.

    However large a block is, the process holds little of it at a time: it is read twice, for its
    checksum and for its rows, and each time the pages behind the reader are let go. A batch that is
    still there finds them again in the page cache, because the file never changes.
    """

    def __init__(self, path: Path) -> None:
        """Raises FileNotFoundError, and `BlockCorruptError` if the file is not a whole one."""
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise BlockCorruptError(f"{path} is empty")
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self._data = pa.py_buffer(self._map)
        self._resident: list[tuple[int, int]] = []
        self._resident_bytes = 0
        self.index = read_index(memoryview(self._data))
        self.schema = decode_schema(self.index)

    def batches(self, targets: Iterable[int]) -> Iterator[pa.RecordBatch]:
        """The rows of each target, in the order in which they were written."""
        for target in targets:
            block = self.index.blocks[target]
            segments = [self._segment(*where) for where in block.segments]
            batches = decode_block(block, segments, self.schema, self._used)
            for segment, batch in zip(segments, batches, strict=True):
                yield batch
                self._used(segment)

    def _segment(self, offset: int, length: int) -> pa.Buffer:
        if offset < 0 or length < 0 or offset + length > self._data.size:
            raise BlockCorruptError("segment of a block lies outside its file")
        return self._data.slice(offset, length)

    def _used(self, segment: pa.Buffer) -> None:
        """Let go of the pages that were read since this was done last, once they are many."""
        offset = segment.address - self._data.address
        self._resident.append((offset, offset + segment.size))
        self._resident_bytes += segment.size
        if self._resident_bytes >= _RESIDENT_BYTES_MAX:
            start = min(self._resident)[0] // mmap.PAGESIZE * mmap.PAGESIZE
            stop = max(stop for _, stop in self._resident)
            self._map.madvise(mmap.MADV_DONTNEED, start, stop - start)
            self._resident.clear()
            self._resident_bytes = 0
