"""Nobody beyond this machine can knock, unless there are keys."""

from __future__ import annotations

import contextlib
import ipaddress
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import psutil
import pytest
import zmq

import flowgrid as fg
from flowgrid.ids import AttemptId
from flowgrid.protocol.block_transfer import FetchBlock, FetchIndex
from flowgrid.protocol.blocks import BlockIndex, encode_index, file_name
from flowgrid.transport.sockets import connect_dealer
from tests.cluster.census import Premises, listening_addresses
from tests.cluster.deadlines import eventually
from tests.cluster.heavy import SHUFFLES, require_right, shuffled
from tests.cluster.standalone import standalone

SERVERS = {
    "flowgrid_scheduler": ["--state-dir", "state"],
    "flowgrid_executor": ["--scheduler", "tcp://127.0.0.1:1"],
}


def run_something(session: fg.Session) -> None:
    counted = session.range(10_000).group_by("id").agg(fg.count().alias("n"))
    assert counted.count() == 10_000


def test_a_cluster_listens_on_loopback_only(premises: Premises) -> None:
    with standalone(premises) as cluster, fg.connect(cluster.address) as session:
        run_something(session)
        addresses = listening_addresses(premises.processes())
    assert addresses, "no listening socket found: the census is blind"
    assert all(ipaddress.ip_address(address).is_loopback for address in addresses), addresses


@pytest.mark.parametrize("master", ["local", "local-cluster[2,1,1024]"])
def test_a_drivers_own_cluster_listens_on_no_network_at_all(
    premises: Premises, master: str
) -> None:
    with fg.connect(master) as session:
        run_something(session)
        assert premises.processes()
        assert listening_addresses(premises.processes()) == set()


@pytest.mark.parametrize("server", SERVERS)
def test_an_address_that_strangers_reach_is_refused_without_keys(
    premises: Premises, tmp_path: Path, server: str
) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", server, "--bind", "tcp://0.0.0.0:0", *SERVERS[server]],
        cwd=tmp_path,
        env=premises.environment(),
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 2, ended.stderr
    assert "--keys" in ended.stderr


STRANGERS = 300
GROWS_BYTES_MAX = 64 << 20
GREETING = b"\xff" + bytes(8) + b"\x7f\x03\x00NULL" + bytes(16 + 32)
HUGE_FRAME = b"\x02" + (1 << 30).to_bytes(8, "big")
SAYINGS = (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 4096, GREETING, GREETING + HUGE_FRAME)


def test_strangers_with_garbage_and_half_open_doors_hold_up_nobody(premises: Premises) -> None:
    with (
        standalone(premises) as cluster,
        fg.connect(cluster.address, conf=SHUFFLES) as session,
        contextlib.ExitStack() as strangers,
    ):
        require_right(shuffled(session), within_s=60)
        servers = [psutil.Process(p.pid) for p in (cluster.scheduler, *cluster.executors)]
        before = {server: server.memory_info().rss for server in servers}
        ports = [door.laddr.port for server in servers for door in listening(server)]
        assert len(ports) >= 3, "not everybody was visited"
        for number in range(STRANGERS):
            stranger = socket.create_connection(("127.0.0.1", ports[number % len(ports)]))
            strangers.enter_context(stranger)
            with contextlib.suppress(OSError):  # the door is closed already
                stranger.sendall(SAYINGS[number % len(SAYINGS)])
        require_right(shuffled(session), within_s=60)
        grown = {server: server.memory_info().rss - rss for server, rss in before.items()}
        assert max(grown.values()) < GROWS_BYTES_MAX, grown


def listening(server: psutil.Process) -> list[Any]:
    return [one for one in server.net_connections("tcp") if one.status == psutil.CONN_LISTEN]


def test_nobody_is_given_a_file_by_a_path_or_a_link(premises: Premises) -> None:
    """All that a reader can say is which attempt wrote a block: four numbers, and no way out."""
    linked, written = AttemptId(99, 0, 0, 0), AttemptId(99, 0, 0, 1)
    secret = premises.folder.parent / "secret"
    with (
        standalone(premises, executors=1) as cluster,
        fg.connect(cluster.address, conf=SHUFFLES) as session,
        zmq.Context() as context,
    ):
        require_right(shuffled(session), within_s=60)
        (executor,) = cluster.executors
        (door,) = listening(psutil.Process(executor.pid))
        (blocks,) = premises.folder.glob("flowgrid-executor-1-*")
        secret.write_bytes(b"secret" + encode_index(BlockIndex(b"", ())))
        job = blocks / "job-99"
        job.mkdir()
        (blocks / file_name(linked)).symlink_to(secret)
        shutil.copy(secret, blocks / file_name(written))
        address = f"tcp://127.0.0.1:{door.laddr.port}"
        with contextlib.closing(connect_dealer(context, address, b"reader", None)) as reader:
            climbing = {"type": "FetchIndex", "request": 1, "attempt": ["../..", 0, 0, "secret"]}
            reader.send(msgspec.msgpack.encode(climbing))
            reader.send(msgspec.msgpack.encode(FetchIndex(2, AttemptId(-1, 0, 0, 0))))
            reader.send(msgspec.msgpack.encode(FetchIndex(3, linked)))
            reader.send(msgspec.msgpack.encode(FetchBlock(4, linked, ((0, 6),), 1024)))
            reader.send(msgspec.msgpack.encode(FetchIndex(5, written)))
            answers = [reader.recv_multipart() for _ in range(4) if reader.poll(5_000)]
            assert not reader.poll(100), "what is no request has no answer"
        replies = [msgspec.msgpack.decode(header) for header, *_ in answers]
        told = {reply["request"]: reply["type"] for reply in replies}
        assert told == {**dict.fromkeys((2, 3, 4), "BlockGone"), 5: "IndexSent"}
        assert not any(b"secret" in part for _, *data in answers for part in data)
        shutil.rmtree(job)
        require_right(shuffled(session), within_s=60)


OTHER_VERSION = """
import sys
from flowgrid.protocol import versions
versions.PROTOCOL_VERSION = 9999
"""
DRIVER = "import flowgrid as fg; fg.connect(sys.argv[1])"
EXECUTOR = """
from flowgrid_executor.__main__ import main
sys.argv[1:1] = ["--scheduler"]
sys.exit(main())
"""


@pytest.mark.parametrize("program", [DRIVER, EXECUTOR], ids=["driver", "executor"])
def test_another_version_is_refused_by_name(premises: Premises, program: str) -> None:
    with standalone(premises, executors=1) as cluster:
        ended = subprocess.run(
            [sys.executable, "-c", OTHER_VERSION + program, cluster.address],
            env=premises.environment(),
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert ended.returncode != 0
        assert "9999" in ended.stderr, ended.stderr
        with fg.connect(cluster.address) as session:
            run_something(session)


@contextlib.contextmanager
def few_descriptors(count: int) -> Iterator[None]:
    """For what this process starts meanwhile."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_blocks_of_many_tasks_need_few_descriptors(premises: Premises) -> None:
    def templates_are_there() -> bool:
        return len(premises.running("flowgrid_executor.template")) == 2

    with contextlib.ExitStack() as stack:
        with few_descriptors(64):
            cluster = stack.enter_context(standalone(premises))
            eventually("slots are there", templates_are_there, within_s=30)
        conf = {**SHUFFLES, "planner.partitions": "100"}
        session = stack.enter_context(fg.connect(cluster.address, conf=conf))
        counted = session.range(100_000).repartition(100).group_by("id").agg(fg.count().alias("n"))
        assert counted.count() == 100_000
