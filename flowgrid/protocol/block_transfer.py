"""How blocks travel between hosts: requests, byte credits and chunks on a data-plane socket.

A request is one frame; a reply is a header frame and, for an index or a chunk, a frame of raw bytes. A
reader may have many requests open on one connection and numbers them itself. The server sends at most
as many bytes as it was granted; the reader grants more as it consumes, so a slow reader slows its
sources and fills nobody's memory.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from flowgrid.config import MIB
from flowgrid.ids import AttemptId

CHUNK_BYTES_MAX = MIB
"""Large enough that the cost of a message vanishes, small enough that streams take fair turns."""

STREAM_CREDIT_BYTES_MAX = 4 * MIB
"""Bytes in flight per block: four chunks saturate a connection; the server honours no more."""

FETCH_PATIENCE_S = 10.0
"""A source from which nothing at all comes for so long is out of reach. A slow one is not."""


class FetchIndex(msgspec.Struct, frozen=True, tag=True):
    """The index of the attempt's block file, without its trailer."""

    request: int
    attempt: AttemptId


class FetchBlock(msgspec.Struct, frozen=True, tag=True):
    """The bytes of `segments` (offset, length), in order, of the attempt's block file.

    The reader knows them from the index. To go on after a break it asks for what is missing.
    """

    request: int
    attempt: AttemptId
    segments: tuple[tuple[int, int], ...]
    credit_bytes: int


class GrantCredit(msgspec.Struct, frozen=True, tag=True):
    request: int
    bytes: int


class CancelFetch(msgspec.Struct, frozen=True, tag=True):
    request: int


FromReader: TypeAlias = FetchIndex | FetchBlock | GrantCredit | CancelFetch


class IndexSent(msgspec.Struct, frozen=True, tag=True):
    request: int


class ChunkSent(msgspec.Struct, frozen=True, tag=True):
    """`offset` counts the block's own bytes, from 0; no chunk crosses the end of a segment."""

    request: int
    offset: int
    last: bool


class BlockGone(msgspec.Struct, frozen=True, tag=True):
    """There is no such file, or not with these bytes."""

    request: int
    reason: str


ToReader: TypeAlias = IndexSent | ChunkSent | BlockGone
