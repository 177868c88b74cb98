"""The file that one attempt writes: segments of Arrow record batches, then an index, then a trailer.

::

    segment …  segment …  index  index length (8 bytes)  MAGIC (8 bytes)

The index is a `BlockIndex` as msgpack and its CRC-32 (4 bytes).

A *block* is what the file holds for one target partition: all its segments, in the order in which they
were written. A segment is one encapsulated Arrow IPC record-batch message without compression, padded
to 8 bytes; the schema is in the index, once. Files are written under a temporary name, renamed when
complete, and never changed after that, so that readers may map them.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence

import msgspec

from flowgrid.ids import AttemptId
from flowgrid.protocol.codec import DecodeError

MAGIC = b"FLOWGRD1"
_TRAILER = struct.Struct("<Q8s")
_CHECKSUM = struct.Struct("<I")
TRAILER_BYTES = _TRAILER.size


class BlockCorruptError(Exception):
    """Bytes that are not what was written: wrong length, magic, index or checksum."""


class Block(msgspec.Struct, frozen=True, array_like=True):
    """Where one target's rows lie in the file.

    `segments` are (offset, length) pairs in bytes. `checksum` is XXH3-64 over the bytes of all segments
    in order; `digest` is the sum of the rows' hashes modulo 2**64, the same for any order of rows.
    """

    segments: tuple[tuple[int, int], ...]
    rows: int
    checksum: int
    digest: int

    @property
    def bytes(self) -> int:
        return sum(length for _, length in self.segments)


class BlockIndex(msgspec.Struct, frozen=True):
    """`schema` is an Arrow schema as an encapsulated IPC message; `blocks` one entry per target."""

    schema: bytes
    blocks: tuple[Block, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(BlockIndex)


def file_name(attempt: AttemptId) -> str:
    """The attempt's block file, relative to its executor's directory."""
    return os.path.join(
        f"job-{attempt.job}", f"{attempt.stage}-{attempt.partition}-{attempt.number}"
    )


def find_file(directories: Sequence[str], attempt: AttemptId) -> str:
    """The path of an attempt's block file in whichever of these directories it is; in the first if it
    is in none that can be read."""
    name = file_name(attempt)
    for directory in directories[1:]:
        if os.path.exists(path := os.path.join(directory, name)):
            return path
    return os.path.join(directories[0], name)


def encode_index(index: BlockIndex) -> bytes:
    """The end of a block file: index and trailer."""
    body = _encoder.encode(index)
    body += _CHECKSUM.pack(zlib.crc32(body))
    return body + _TRAILER.pack(len(body), MAGIC)


def decode_trailer(trailer: bytes | memoryview) -> int:
    """The index's length in bytes, from the last `TRAILER_BYTES`. Raises `BlockCorruptError`."""
    if len(trailer) != TRAILER_BYTES:
        raise BlockCorruptError("block file is shorter than its trailer")
    length, magic = _TRAILER.unpack(trailer)
    if magic != MAGIC:
        raise BlockCorruptError("block file does not end with its magic")
    return int(length)


def decode_index(body: bytes | memoryview) -> BlockIndex:
    """The index itself. Raises `BlockCorruptError`."""
    fields, checksum = body[: -_CHECKSUM.size], body[-_CHECKSUM.size :]
    if len(checksum) < _CHECKSUM.size or _CHECKSUM.unpack(checksum) != (zlib.crc32(fields),):
        raise BlockCorruptError("checksum of a block index is wrong")
    try:
        return _decoder.decode(fields)
    except DecodeError as error:
        raise BlockCorruptError(f"block index cannot be read: {error}") from None


def read_index(data: memoryview) -> BlockIndex:
    """The index of a whole block file in memory or mapped. Raises `BlockCorruptError`."""
    length = decode_trailer(data[-TRAILER_BYTES:])
    if length + TRAILER_BYTES > len(data):
        raise BlockCorruptError("block file is shorter than its index")
    return decode_index(data[len(data) - TRAILER_BYTES - length : len(data) - TRAILER_BYTES])
