"""Fetches blocks from one executor (or driver) on another host, with a bound on bytes in flight.

Segments come in the order of the blocks asked for, whatever the order of arrival. Memory in use is the
bound plus the segment being put together; a reader that stops reading stops the source. Used by slots
and by the driver; a client belongs to one thread.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections import deque
from collections.abc import Iterable, Iterator
from typing import TypeAlias
from urllib.parse import urlsplit

import zmq

from flowgrid.closing import Closing
from flowgrid.config import MIB
from flowgrid.ids import AttemptId
from flowgrid.protocol.block_transfer import (
    FETCH_PATIENCE_S,
    STREAM_CREDIT_BYTES_MAX,
    BlockGone,
    CancelFetch,
    ChunkSent,
    FetchBlock,
    FetchIndex,
    FromReader,
    GrantCredit,
    IndexSent,
    ToReader,
)
from flowgrid.protocol.blocks import Block, BlockCorruptError, BlockIndex, decode_index
from flowgrid.protocol.codec import Codec
from flowgrid.transport.security import Keys
from flowgrid.transport.sockets import connect_dealer

_REQUESTS_IN_FLIGHT_MAX = 64
"""Enough to hide the way there and back; small blocks and indexes would not stop at any bytes."""

_PROBE_AFTER_S = 0.5
"""ZeroMQ hides a refused connection; when nothing comes for this long, a plain one is tried."""

_requests: Codec[FromReader] = Codec(FromReader)  # type: ignore[arg-type]
_replies: Codec[ToReader] = Codec(ToReader)  # type: ignore[arg-type]


class BlockFetchError(Exception):
    """A block could not be had from where it should be."""


class BlockGoneError(BlockFetchError):
    """The source is there and does not have the block (any more)."""


class BlockUnreachableError(BlockFetchError):
    """The source does not answer."""


class _IndexRequest:
    """An index on its way."""

    def __init__(self, attempt: AttemptId) -> None:
        self.attempt = attempt
        self.index: bytes | None = None
        self.gone: str | None = None

    def take(self, data: memoryview) -> None:
        self.index = bytes(data)


class _BlockRequest:
    """A block on its way: chunks that arrived, and the segment they are put together into."""

    def __init__(self, position: int, attempt: AttemptId, block: Block) -> None:
        self.position = position
        self.attempt = attempt
        self.segments = tuple(segment for segment in block.segments if segment[1] > 0)
        self.window_bytes = min(block.bytes, STREAM_CREDIT_BYTES_MAX)
        self.ungranted_bytes = block.bytes - self.window_bytes
        self.chunks: deque[memoryview] = deque()
        self.gone: str | None = None
        self._lengths = deque(length for _, length in self.segments)
        self._segment: bytearray | None = None
        self._filled = 0

    @property
    def finished(self) -> bool:
        return not self._lengths

    def take(self, data: memoryview) -> None:
        self.chunks.append(data)

    def consume(self) -> tuple[int, bytearray | None]:
        """Put the oldest chunk into its segment: the bytes consumed, and the segment if complete."""
        chunk = self.chunks.popleft()
        segment = self._segment or bytearray(self._lengths[0])
        stop = self._filled + len(chunk)
        if stop > len(segment):
            raise BlockCorruptError(f"{self.attempt}: more bytes came than the segment has")
        segment[self._filled : stop] = chunk
        if stop < len(segment):
            self._segment, self._filled = segment, stop
            return len(chunk), None
        self._lengths.popleft()
        self._segment, self._filled = None, 0
        return len(chunk), segment


_Request: TypeAlias = _IndexRequest | _BlockRequest


class BlockClient(Closing):
    """One connection to one source. Any number of fetches may be under way at once."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        keys: Keys | None = None,
        *,
        in_flight_bytes_max: int = 32 * MIB,
        timeout_s: float = FETCH_PATIENCE_S,
    ) -> None:
        """`timeout_s` is without any progress; a slow source is no dead one."""
        self.address = address
        self._in_flight_bytes_max = in_flight_bytes_max
        self._timeout_s = timeout_s
        self._dealer = connect_dealer(context, address, b"reader-" + os.urandom(12), keys)
        self._numbers = itertools.count()
        self._requests: dict[int, _Request] = {}

    def close(self) -> None:
        self._dealer.close(linger=0)

    def fetch_index(self, attempt: AttemptId) -> BlockIndex:
        """The index of the attempt's block file.

        Raises `BlockGoneError`, `BlockUnreachableError` or `BlockCorruptError`.
        """
        return next(self.fetch_indexes([attempt]))

    def fetch_indexes(self, attempts: Iterable[AttemptId]) -> Iterator[BlockIndex]:
        """The index of each attempt, in order, many requests at a time. Raises as `fetch_index`."""
        waiting = iter(attempts)
        opened: deque[int] = deque()
        try:
            while True:
                for attempt in itertools.islice(waiting, _REQUESTS_IN_FLIGHT_MAX - len(opened)):
                    opened.append(self._open(_IndexRequest(attempt)))
                    self._send(FetchIndex(opened[-1], attempt))
                if not opened:
                    return
                request = self._requests[opened[0]]
                assert isinstance(request, _IndexRequest)
                while request.index is None:
                    self._check(request)
                    self._receive()
                del self._requests[opened.popleft()]
                yield decode_index(request.index)
        finally:
            self._forget(opened)

    def fetch_block(self, attempt: AttemptId, block: Block) -> Iterator[bytearray]:
        """The segments of one block. Raises as `fetch_index`."""
        return (segment for _, segment in self.fetch_blocks([(attempt, block)]))

    def fetch_blocks(
        self, wanted: Iterable[tuple[AttemptId, Block]]
    ) -> Iterator[tuple[int, bytearray]]:
        """(position in `wanted`, segment) in order; an empty block has none.

        The first blocks are asked for at once, before the first segment is taken, so that several
        clients work at the same time. Raises as `fetch_index`.
        """
        waiting = deque(
            _BlockRequest(position, attempt, block)
            for position, (attempt, block) in enumerate(wanted)
            if block.bytes
        )
        opened: deque[int] = deque()
        in_flight = self._open_blocks(waiting, opened, 0)
        return self._segments(waiting, opened, in_flight)

    def _segments(
        self, waiting: deque[_BlockRequest], opened: deque[int], in_flight: int
    ) -> Iterator[tuple[int, bytearray]]:
        try:
            while opened:
                number = opened[0]
                request = self._requests[number]
                assert isinstance(request, _BlockRequest)
                while not request.finished:
                    while not request.chunks:
                        self._check(request)
                        self._receive()
                    consumed, segment = request.consume()
                    self._grant(number, request, consumed)
                    if segment is not None:
                        yield request.position, segment
                del self._requests[opened.popleft()]
                in_flight -= request.window_bytes
                in_flight = self._open_blocks(waiting, opened, in_flight)
        finally:
            self._forget(opened)

    def _open_blocks(
        self, waiting: deque[_BlockRequest], opened: deque[int], in_flight: int
    ) -> int:
        """Ask for as many blocks as the bounds have room for, and for one at least."""
        while waiting and len(opened) < _REQUESTS_IN_FLIGHT_MAX:
            if opened and in_flight + waiting[0].window_bytes > self._in_flight_bytes_max:
                break
            request = waiting.popleft()
            in_flight += request.window_bytes
            number = self._open(request)
            opened.append(number)
            self._send(FetchBlock(number, request.attempt, request.segments, request.window_bytes))
        return in_flight

    def _grant(self, number: int, request: _BlockRequest, consumed: int) -> None:
        granted = min(consumed, request.ungranted_bytes)
        if granted:
            request.ungranted_bytes -= granted
            self._send(GrantCredit(number, granted))

    # -- the wire ----------------------------------------------------------------------------------

    def _open(self, request: _Request) -> int:
        number = next(self._numbers)
        self._requests[number] = request
        return number

    def _forget(self, opened: Iterable[int]) -> None:
        """Give up what is still under way: the reader failed or wants no more."""
        for number in opened:
            del self._requests[number]
            if not self._dealer.closed:
                self._send(CancelFetch(number))

    def _check(self, request: _Request) -> None:
        if request.gone is not None:
            raise BlockGoneError(f"{self.address} does not have {request.gone}")

    def _send(self, message: FromReader) -> None:
        try:
            self._dealer.send(_requests.encode(message), zmq.DONTWAIT)
        except zmq.Again:
            raise BlockUnreachableError(f"{self.address} takes no more requests") from None

    def _receive(self) -> None:
        """Wait for one reply and hand it to its request; replies to forgotten ones are dropped."""
        self._await_reply()
        header, *data = self._dealer.recv_multipart(copy=False)
        reply = _replies.decode(header.buffer)
        request = self._requests.get(reply.request)
        if request is None:
            return
        match reply:
            case BlockGone():
                request.gone = reply.reason
            case IndexSent() | ChunkSent():
                request.take(data[0].buffer)

    def _await_reply(self) -> None:
        patience_s = min(_PROBE_AFTER_S, self._timeout_s)
        if self._dealer.poll(round(patience_s * 1000)):
            return
        probed_at = time.monotonic()
        if self._refuses():
            raise BlockUnreachableError(f"{self.address} refuses connections")
        patience_s = max(self._timeout_s - patience_s - (time.monotonic() - probed_at), 0.0)
        if not self._dealer.poll(round(patience_s * 1000)):
            raise BlockUnreachableError(
                f"nothing came from {self.address} for {self._timeout_s:g} s"
            )

    def _refuses(self) -> bool:
        """Whether nobody listens there any more; an endpoint that is not TCP does not say."""
        where = urlsplit(self.address)
        if where.scheme != "tcp" or where.hostname is None or where.port is None:
            return False
        try:
            socket.create_connection((where.hostname, where.port), timeout=1.0).close()
        except ConnectionRefusedError:
            return True
        except OSError:
            return False
        return False


def verified(block: Block, segments: Iterable[bytearray]) -> Iterator[bytearray]:
    """The segments as they come, checked at the end: `BlockCorruptError` if they are not the block."""
    import xxhash  # only readers of blocks need it, and they start faster without

    checksum = xxhash.xxh3_64()
    for segment in segments:
        checksum.update(segment)
        yield segment
    if checksum.intdigest() != block.checksum:
        raise BlockCorruptError("the bytes that came are not those that were written")
