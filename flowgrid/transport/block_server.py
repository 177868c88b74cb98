"""Serves ranges of block files to readers on other hosts, in a thread of its own.

Its own thread because a read of a cold file waits for the disk, and heartbeats must not wait with it;
reading and sending happen outside Python's lock. A path is only ever made from an attempt's numbers.
Between two chunks nothing is kept open and nothing is held but a few numbers, so a reader costs what it
was granted: at most `STREAM_CREDIT_BYTES_MAX` per block, until ZeroMQ finds that it is gone.
"""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections import OrderedDict, deque
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
import zmq

from flowgrid.ids import AttemptId
from flowgrid.protocol.block_transfer import (
    CHUNK_BYTES_MAX,
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
from flowgrid.protocol.blocks import TRAILER_BYTES, BlockCorruptError, decode_trailer, find_file
from flowgrid.protocol.codec import Codec, DecodeError
from flowgrid.transport.security import Keys
from flowgrid.transport.sockets import bind_router

_STREAMS_MAX = 10_000
"""Above it the oldest stream is forgotten: its reader is most likely gone."""

_REQUESTS_PER_TURN = 100
"""Then the streams get their turn, so that many small requests do not starve a large one."""

_StreamKey: TypeAlias = tuple[bytes, int]

_requests: Codec[FromReader] = Codec(FromReader)  # type: ignore[arg-type]
_replies: Codec[ToReader] = Codec(ToReader)  # type: ignore[arg-type]


class _Stream(msgspec.Struct):
    """A block on its way: the ranges still to send, and how much of them the reader has room for."""

    path: Path
    ranges: deque[tuple[int, int]]
    credit_bytes: int
    sent_bytes: int = 0

    @property
    def next_bytes(self) -> int:
        return min(self.ranges[0][1], CHUNK_BYTES_MAX)

    @property
    def ready(self) -> bool:
        return self.credit_bytes >= self.next_bytes

    def grant(self, granted: int) -> None:
        self.credit_bytes = min(self.credit_bytes + max(granted, 0), STREAM_CREDIT_BYTES_MAX)

    def advance(self, sent: int) -> None:
        offset, length = self.ranges.popleft()
        if length > sent:
            self.ranges.appendleft((offset + sent, length - sent))
        self.credit_bytes -= sent
        self.sent_bytes += sent


class BlockServer:
    """Serves the block files below `directories` from its construction until `close`."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        address: str,
        directories: Sequence[Path],
        keys: Keys | None = None,
    ) -> None:
        """Binds `address`; `self.address` is where it really is. Raises `InsecureBindError`."""
        self._directories = [str(one) for one in directories]
        self._router, self.address = bind_router(context, address, keys)
        self._streams: OrderedDict[_StreamKey, _Stream] = OrderedDict()
        self._closing, self._closed = socket.socketpair()
        # The socket changes hands here and once again in `close`; a thread's start and end are the
        # barriers that ZeroMQ asks for.
        self._thread = threading.Thread(target=self._serve, name="block-server", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._closing.close()
        self._thread.join()
        self._closed.close()
        self._router.close(linger=0)

    def _serve(self) -> None:
        poller = zmq.Poller()
        poller.register(self._closed, zmq.POLLIN)
        poller.register(self._router, zmq.POLLIN)
        while True:
            ready = [key for key, stream in self._streams.items() if stream.ready]
            arrived = dict(poller.poll(0 if ready else None))
            if self._closed.fileno() in arrived:
                return
            for key in ready:
                if key in self._streams:  # else its reader was found gone in this very turn
                    self._send_chunk(key)
            if self._router in arrived:
                self._receive()

    # -- requests ----------------------------------------------------------------------------------

    def _receive(self) -> None:
        for _ in range(_REQUESTS_PER_TURN):
            try:
                frames = self._router.recv_multipart(zmq.DONTWAIT)
            except zmq.Again:
                return
            if len(frames) == 2:
                with contextlib.suppress(*DecodeError):
                    self._handle(frames[0], _requests.decode(frames[1]))

    def _handle(self, peer: bytes, message: FromReader) -> None:
        match message:
            case FetchIndex(request, attempt):
                self._send_index(peer, request, attempt)
            case FetchBlock(request, attempt, segments, credit_bytes):
                ranges = deque((offset, length) for offset, length in segments if length > 0)
                if not ranges:
                    self._send(peer, BlockGone(request, f"{attempt}: no bytes were asked for"))
                    return
                stream = _Stream(self._path(attempt), ranges, 0)
                stream.grant(credit_bytes)
                self._streams[peer, request] = stream
                if len(self._streams) > _STREAMS_MAX:
                    self._streams.popitem(last=False)
            case GrantCredit(request, granted):
                if (peer, request) in self._streams:
                    self._streams[peer, request].grant(granted)
            case CancelFetch(request):
                self._streams.pop((peer, request), None)

    def _path(self, attempt: AttemptId) -> Path:
        return Path(find_file(self._directories, attempt))

    # -- replies -----------------------------------------------------------------------------------

    def _send_index(self, peer: bytes, request: int, attempt: AttemptId) -> None:
        try:
            index = _read_index(self._path(attempt))
        except (OSError, BlockCorruptError) as error:
            self._send(peer, BlockGone(request, f"{attempt}: {error}"))
        else:
            self._send(peer, IndexSent(request), index)

    def _send_chunk(self, key: _StreamKey) -> None:
        peer, request = key
        stream = self._streams[key]
        offset, size = stream.ranges[0][0], stream.next_bytes
        try:
            data = _read(stream.path, offset, size)
        except (OSError, OverflowError, BlockCorruptError) as error:
            del self._streams[key]
            self._send(peer, BlockGone(request, str(error)))
            return
        start = stream.sent_bytes
        stream.advance(size)
        if not stream.ranges:
            del self._streams[key]
        self._send(peer, ChunkSent(request, start, not stream.ranges), data)

    def _send(self, peer: bytes, header: ToReader, *data: bytes) -> None:
        try:
            self._router.send_multipart(
                [peer, _replies.encode(header), *data], zmq.DONTWAIT, copy=False
            )
        except zmq.ZMQError:
            # Gone, or so far behind that it will time out: nothing it asked for is worth keeping.
            for key in [key for key in self._streams if key[0] == peer]:
                del self._streams[key]


def _read(path: Path, offset: int, size: int) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        data = os.pread(descriptor, size, offset)
    finally:
        os.close(descriptor)
    if len(data) != size:
        raise BlockCorruptError(f"{path.name} ends before byte {offset + size}")
    return data


def _read_index(path: Path) -> bytes:
    size = path.stat().st_size
    length = decode_trailer(_read(path, max(size - TRAILER_BYTES, 0), min(size, TRAILER_BYTES)))
    start = size - TRAILER_BYTES - length
    if start < 0:
        raise BlockCorruptError(f"{path.name} is shorter than its index")
    return _read(path, start, length)
