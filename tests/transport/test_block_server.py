"""Blocks over real sockets: the server as a reader on another host sees it, a friendly one or not."""

from __future__ import annotations

import contextlib
import os
import random
import resource
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq

from flowgrid.config import MIB
from flowgrid.ids import AttemptId
from flowgrid.protocol.block_transfer import (
    CHUNK_BYTES_MAX,
    STREAM_CREDIT_BYTES_MAX,
    BlockGone,
    CancelFetch,
    ChunkSent,
    FetchBlock,
    FetchIndex,
    GrantCredit,
    ToReader,
)
from flowgrid.protocol.blocks import BlockIndex, encode_index, file_name
from flowgrid.protocol.codec import Codec
from flowgrid.transport.block_server import BlockServer
from flowgrid.transport.security import InsecureBindError
from flowgrid.transport.sockets import connect_dealer

ATTEMPT = AttemptId(1, 0, 0, 0)
LARGE_BYTES = 64 * MIB

_replies: Codec[ToReader] = Codec(ToReader)  # type: ignore[arg-type]


class Reader:
    """Speaks the wire by hand."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], address: str) -> None:
        self.socket = connect_dealer(context, address, b"reader" + os.urandom(4), None)

    def say(self, message: msgspec.Struct) -> None:
        self.socket.send(msgspec.msgpack.encode(message))

    def hear(self, within_ms: int = 5000) -> tuple[ToReader, bytes] | None:
        if not self.socket.poll(within_ms):
            return None
        header, *data = self.socket.recv_multipart()
        return _replies.decode(header), b"".join(data)

    def chunks(self, count: int) -> list[tuple[ChunkSent, bytes]]:
        """So many, after which nothing comes."""
        heard = []
        for _ in range(count):
            reply = self.hear()
            assert reply is not None
            assert isinstance(reply[0], ChunkSent)
            heard.append((reply[0], reply[1]))
        assert self.hear(within_ms=100) is None
        return heard


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    with zmq.Context() as context:
        yield context


@pytest.fixture
def server(context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path) -> Iterator[BlockServer]:
    directory = tmp_path / "blocks"
    (directory / "job-1").mkdir(parents=True, exist_ok=True)
    server = BlockServer(context, "tcp://127.0.0.1:0", [directory])
    yield server
    server.close()


@pytest.fixture
def reader(context: zmq.Context[zmq.Socket[bytes]], server: BlockServer) -> Iterator[Reader]:
    reader = Reader(context, server.address)
    yield reader
    reader.socket.close(0)


@pytest.fixture
def large(tmp_path: Path) -> Path:
    path = tmp_path / "blocks" / file_name(ATTEMPT)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(random.Random(7).randbytes(MIB) * (LARGE_BYTES // MIB))
    return path


def test_no_more_comes_than_was_granted_and_the_rest_after_the_next_grant(
    reader: Reader, large: Path
) -> None:
    size = 3 * MIB
    reader.say(FetchBlock(0, ATTEMPT, ((5, size),), 2 * MIB))

    first = reader.chunks(2)
    reader.say(GrantCredit(0, MIB))
    rest = reader.chunks(1)

    assert [len(data) for _, data in first] == [MIB, MIB]
    assert [header for header, _ in first + rest] == [
        ChunkSent(0, 0, False),
        ChunkSent(0, MIB, False),
        ChunkSent(0, 2 * MIB, True),
    ]
    assert b"".join(data for _, data in first + rest) == large.read_bytes()[5 : 5 + size]


def test_no_chunk_crosses_the_end_of_a_segment(reader: Reader, large: Path) -> None:
    reader.say(FetchBlock(0, ATTEMPT, ((0, 10), (100, CHUNK_BYTES_MAX + 1), (50, 8)), 4 * MIB))

    assert [len(data) for _, data in reader.chunks(4)] == [10, CHUNK_BYTES_MAX, 1, 8]


@pytest.fixture
def early(context: zmq.Context[zmq.Socket[bytes]]) -> Iterator[Reader]:
    """Whatever it says before its server is there comes at once."""
    reader = Reader(context, "inproc://blocks")
    yield reader
    reader.socket.close(0)


@contextlib.contextmanager
def late_server(context: zmq.Context[zmq.Socket[bytes]], large: Path) -> Iterator[None]:
    with contextlib.closing(BlockServer(context, "inproc://blocks", [large.parents[1]])):
        yield


def test_a_greedy_reader_that_reads_nothing_costs_the_server_what_one_block_may_have_in_flight(
    context: zmq.Context[zmq.Socket[bytes]], early: Reader, large: Path
) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    early.say(FetchBlock(0, ATTEMPT, ((0, LARGE_BYTES),), LARGE_BYTES))
    early.say(GrantCredit(0, LARGE_BYTES))

    with late_server(context, large):
        chunks = early.chunks(STREAM_CREDIT_BYTES_MAX // CHUNK_BYTES_MAX)

    assert sum(len(data) for _, data in chunks) == STREAM_CREDIT_BYTES_MAX
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 32 * 1024, "server, wire and this reader together"


def test_streams_take_turns(
    context: zmq.Context[zmq.Socket[bytes]], early: Reader, large: Path
) -> None:
    for request in range(3):
        early.say(FetchBlock(request, ATTEMPT, ((0, 4 * MIB),), 4 * MIB))

    with late_server(context, large):
        assert [header.request for header, _ in early.chunks(12)] == [0, 1, 2] * 4


def test_a_reader_that_dies_with_many_blocks_on_their_way_costs_others_nothing(
    context: zmq.Context[zmq.Socket[bytes]], server: BlockServer, reader: Reader, large: Path
) -> None:
    for _ in range(20):
        mortal = Reader(context, server.address)
        for request in range(50):
            mortal.say(FetchBlock(request, ATTEMPT, ((0, LARGE_BYTES),), 4 * MIB))
        assert mortal.hear() is not None
        mortal.socket.close(0)

        reader.say(FetchBlock(0, ATTEMPT, ((0, 3),), MIB))

        assert reader.hear() == (ChunkSent(0, 0, True), large.read_bytes()[:3])


def test_a_cancelled_fetch_sends_no_more(reader: Reader, large: Path) -> None:
    reader.say(FetchBlock(0, ATTEMPT, ((0, 4 * MIB),), MIB))
    assert len(reader.chunks(1)) == 1

    reader.say(CancelFetch(0))
    reader.say(GrantCredit(0, 4 * MIB))

    assert reader.hear(within_ms=200) is None


@pytest.mark.parametrize(
    "request_",
    [
        FetchIndex(3, AttemptId(1, 0, 0, 9)),
        FetchBlock(3, AttemptId(1, 0, 0, 9), ((0, 1),), MIB),
        FetchBlock(3, ATTEMPT, ((LARGE_BYTES - 1, 2),), MIB),
        FetchBlock(3, ATTEMPT, ((-1, 2),), MIB),
        FetchBlock(3, ATTEMPT, ((2**63, 2),), MIB),
        FetchBlock(3, ATTEMPT, (), MIB),
        FetchIndex(3, ATTEMPT),
    ],
    ids=["no such index", "no such file", "end", "before", "overflow", "nothing", "no trailer"],
)
def test_what_is_not_there_is_gone(reader: Reader, large: Path, request_: msgspec.Struct) -> None:
    reader.say(request_)

    reply = reader.hear()

    assert reply is not None
    assert isinstance(reply[0], BlockGone)
    assert reply[0].request == 3


def test_a_request_cannot_name_a_path(reader: Reader, server: BlockServer, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret" + encode_index(BlockIndex(b"", ())))
    os.symlink(tmp_path / "secret", tmp_path / "blocks" / file_name(ATTEMPT))
    climbing = {"type": "FetchIndex", "request": 1, "attempt": ["../..", 0, 0, "secret"]}
    reader.say(FetchBlock(2, ATTEMPT, ((0, 6),), MIB))
    reader.socket.send(msgspec.msgpack.encode(climbing))
    reader.say(FetchIndex(4, AttemptId(-1, 0, 0, 0)))

    replies = [reply[0] for _ in range(2) if (reply := reader.hear()) is not None]

    assert all(isinstance(reply, BlockGone) for reply in replies)
    assert sorted(reply.request for reply in replies) == [2, 4]
    assert reader.hear(within_ms=100) is None, "what is no request has no answer"


def test_garbage_stops_nobody(reader: Reader, large: Path, seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(500):
        reader.socket.send_multipart(
            [dice.randbytes(dice.randrange(40)) for _ in range(dice.randrange(1, 4))]
        )
        valid = bytearray(msgspec.msgpack.encode(FetchIndex(1, AttemptId(9, 9, 9, 9))))
        valid[dice.randrange(len(valid))] = dice.randrange(256)
        reader.socket.send(valid)

    reader.say(FetchBlock(99, ATTEMPT, ((0, 3),), 3))

    while (reply := reader.hear()) is not None and isinstance(reply[0], BlockGone):
        pass
    assert reply == (ChunkSent(99, 0, True), large.read_bytes()[:3])


def test_strangers_cannot_reach_it_without_keys(
    context: zmq.Context[zmq.Socket[bytes]], tmp_path: Path
) -> None:
    with pytest.raises(InsecureBindError):
        BlockServer(context, "tcp://0.0.0.0:0", [tmp_path])
