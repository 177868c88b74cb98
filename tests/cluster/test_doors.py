"""Nobody beyond this machine can knock, unless there are keys."""

from __future__ import annotations

import ipaddress
import subprocess
import sys
from pathlib import Path

import pytest

import flowgrid as fg
from tests.cluster.census import Premises, listening_addresses
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
