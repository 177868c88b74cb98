"""Nobody beyond this machine can knock, unless there are keys."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
from pathlib import Path

import pytest

import flowgrid as fg
from tests.cluster.census import Premises, listening_addresses

SERVERS = {
    "flowgrid_scheduler": ["--state-dir", "state"],
    "flowgrid_executor": ["--scheduler", "tcp://127.0.0.1:1"],
}


def test_every_listening_socket_is_on_loopback(premises: Premises) -> None:
    with fg.connect("local-cluster[2,1,1024]") as session:
        session.range(100).count()
        addresses = listening_addresses(premises.processes())
    assert addresses, "no listening socket found: the census is blind"
    assert all(ipaddress.ip_address(address).is_loopback for address in addresses), addresses


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
