"""Fetching over real sockets, from a server that is there, slow, stopped or gone."""

from __future__ import annotations

import itertools
import random
import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import xxhash
import zmq

from flowgrid.config import MIB
from flowgrid.ids import AttemptId
from flowgrid.protocol.blocks import Block, BlockCorruptError, BlockIndex, encode_index, file_name
from flowgrid.transport.block_client import (
    BlockClient,
    BlockGoneError,
    BlockUnreachableError,
    verified,
)
from flowgrid.transport.block_server import BlockServer
from flowgrid.transport.security import Keys, admission, create_keys

Context = zmq.Context[zmq.Socket[bytes]]
MISSING = AttemptId(1, 0, 99, 0)


class Files:
    """Block files of random bytes, and what is in them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.written: dict[AttemptId, tuple[BlockIndex, bytes]] = {}

    def write(self, partition: int, *blocks: tuple[int, ...]) -> AttemptId:
        """One block per argument, with segments of these sizes, interleaved as a writer would."""
        attempt = AttemptId(1, 0, partition, 0)
        dice, data = random.Random(partition), b""
        segments: list[list[tuple[int, int]]] = [[] for _ in blocks]
        for turn in itertools.zip_longest(*blocks):
            for target, size in enumerate(turn):
                if size is not None:
                    segments[target].append((len(data), size))
                    data += dice.randbytes(size)
        index = BlockIndex(b"schema", tuple(_block(data, ranges) for ranges in segments))
        path = self.directory / file_name(attempt)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data + encode_index(index))
        self.written[attempt] = (index, data)
        return attempt

    def block(self, attempt: AttemptId, target: int = 0) -> Block:
        return self.written[attempt][0].blocks[target]

    def segments(self, attempt: AttemptId, target: int = 0) -> list[bytearray]:
        _, data = self.written[attempt]
        ranges = self.block(attempt, target).segments
        return [bytearray(data[start : start + size]) for start, size in ranges]


def _block(data: bytes, segments: list[tuple[int, int]]) -> Block:
    checksum = xxhash.xxh3_64(b"".join(data[start : start + size] for start, size in segments))
    return Block(tuple(segments), len(segments), checksum.intdigest(), 0)


@pytest.fixture
def context() -> Iterator[Context]:
    with zmq.Context() as context:
        yield context


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path / "blocks")


@pytest.fixture
def server(context: Context, files: Files) -> Iterator[BlockServer]:
    server = BlockServer(context, "tcp://127.0.0.1:0", [files.directory])
    yield server
    server.close()


@pytest.fixture
def client(context: Context, server: BlockServer) -> Iterator[BlockClient]:
    with BlockClient(context, server.address, in_flight_bytes_max=8 * MIB) as client:
        yield client


def test_an_index_is_what_was_written(client: BlockClient, files: Files) -> None:
    attempt = files.write(0, (10, 20), (30,))

    assert client.fetch_index(attempt) == files.written[attempt][0]


def test_many_indexes_come_in_the_order_asked_for(client: BlockClient, files: Files) -> None:
    attempts = [files.write(partition, (8,)) for partition in range(200)]
    attempts.reverse()

    fetched = list(client.fetch_indexes(attempts))

    assert fetched == [files.written[attempt][0] for attempt in attempts]


def test_a_block_is_its_segments(client: BlockClient, files: Files) -> None:
    attempt = files.write(0, (5 * MIB + 8, 16), (24, 8))

    for target in (0, 1):
        fetched = list(client.fetch_block(attempt, files.block(attempt, target)))
        assert fetched == files.segments(attempt, target)


def test_blocks_of_all_sizes_come_whole_and_in_order_whatever_the_bound(
    context: Context, server: BlockServer, files: Files, seed: int
) -> None:
    dice = random.Random(seed)
    sizes = [0, 8, 100, MIB - 1, MIB, MIB + 1, 6 * MIB]
    attempts = [
        files.write(p, tuple(dice.choice(sizes) for _ in range(dice.randrange(4))))
        for p in range(12)
    ]
    wanted = [(attempt, files.block(attempt)) for attempt in attempts]
    expected = [
        (position, segment)
        for position, attempt in enumerate(attempts)
        for segment in files.segments(attempt)
        if segment
    ]
    for bound in (1, 5 * MIB, 100 * MIB):
        with BlockClient(context, server.address, in_flight_bytes_max=bound) as client:
            assert list(client.fetch_blocks(wanted)) == expected


def test_two_fetches_share_a_connection(client: BlockClient, files: Files) -> None:
    one, two = files.write(0, (3 * MIB,) * 3), files.write(1, (2 * MIB,) * 3)

    pairs = list(
        zip(
            client.fetch_block(one, files.block(one)),
            client.fetch_block(two, files.block(two)),
            strict=True,
        )
    )

    assert pairs == list(zip(files.segments(one), files.segments(two), strict=True))


def test_a_reader_that_stops_early_can_fetch_again(client: BlockClient, files: Files) -> None:
    attempt = files.write(0, (MIB,) * 20)
    segments = client.fetch_block(attempt, files.block(attempt))
    next(segments)
    del segments

    assert list(client.fetch_block(attempt, files.block(attempt))) == files.segments(attempt)


def test_a_block_that_is_gone_is_named(client: BlockClient, files: Files) -> None:
    attempt = files.write(0, (8,))
    with pytest.raises(BlockGoneError, match=r"job-1/stage-0/task-99#0"):
        client.fetch_index(MISSING)
    with pytest.raises(BlockGoneError, match="0-99-0"):
        list(client.fetch_block(MISSING, files.block(attempt)))


def test_a_file_that_vanishes_under_a_fetch_is_gone(client: BlockClient, files: Files) -> None:
    attempt = files.write(0, (MIB,) * 20)
    segments = client.fetch_block(attempt, files.block(attempt))
    next(segments)
    (files.directory / file_name(attempt)).unlink()

    with pytest.raises(BlockGoneError):
        list(segments)


def test_an_address_where_nobody_listens_is_noticed_soon(context: Context) -> None:
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{port.getsockname()[1]}"
    started_at = time.monotonic()
    with (
        BlockClient(context, address, timeout_s=60.0) as client,
        pytest.raises(BlockUnreachableError, match="refuses connections"),
    ):
        client.fetch_index(MISSING)
    assert time.monotonic() - started_at < 10.0


def test_a_source_that_listens_and_never_answers_is_unreachable(context: Context) -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        address = f"tcp://127.0.0.1:{mute.getsockname()[1]}"
        with (
            BlockClient(context, address, timeout_s=0.7) as client,
            pytest.raises(BlockUnreachableError, match=r"for 0\.7 s"),
        ):
            client.fetch_index(MISSING)


def test_verified_lets_right_bytes_through_and_stops_at_wrong_ones(files: Files) -> None:
    attempt = files.write(0, (100, 200))
    segments = files.segments(attempt)
    assert list(verified(files.block(attempt), segments)) == segments

    segments[1][7] ^= 1
    with pytest.raises(BlockCorruptError):
        list(verified(files.block(attempt), segments))


def test_with_keys_only_listed_readers_get_blocks(
    context: Context, files: Files, tmp_path: Path
) -> None:
    attempt = files.write(0, (2 * MIB,))
    for cluster in ("ours", "theirs"):
        create_keys(tmp_path / cluster)
    shutil.copy(tmp_path / "ours" / "cluster.key", tmp_path / "theirs" / "cluster.key")
    ours, theirs = (Keys(tmp_path / cluster, "executor") for cluster in ("ours", "theirs"))
    with admission(context, ours):
        server = BlockServer(context, "tcp://127.0.0.1:0", [files.directory], ours)
        try:
            with BlockClient(context, server.address, ours) as client:
                fetched = list(client.fetch_block(attempt, files.block(attempt)))
                assert fetched == files.segments(attempt)
            with (
                BlockClient(context, server.address, theirs, timeout_s=0.7) as stranger,
                pytest.raises(BlockUnreachableError),
            ):
                stranger.fetch_index(attempt)
        finally:
            server.close()
