"""Who may talk to whom: loopback is open to this machine, everything else needs CURVE keys.

A keys directory (made by `flowgrid keys DIR`) holds ``cluster.key_secret``/``cluster.key`` of the
cluster's servers, one certificate per role (``submitter``, ``executor``, ``observer``), and in
``allowed/`` the public keys that get in.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path
from urllib.parse import urlsplit

import zmq

from flowgrid.errors import ConfigError

ZAP_DOMAIN = b"flowgrid"


class InsecureBindError(ConfigError):
    """An address that other machines can reach, and no keys."""


class Keys:
    """The keys of one process: what a server needs to be one, and what a client shows."""

    def __init__(self, directory: Path, role: str) -> None:
        self.directory = directory
        self.role = role


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a ZeroMQ endpoint."""
    parts = urlsplit(address)
    if parts.scheme in ("ipc", "inproc"):
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def secure_server(socket: zmq.Socket[bytes], address: str, keys: Keys | None) -> None:
    """Refuse a bind that strangers could reach; with keys, make the socket a CURVE server."""
    if keys is None and not is_loopback(address):
        raise InsecureBindError(
            f"{address} can be reached from other machines and there are no keys: "
            "give --keys DIR (made by `flowgrid keys DIR`), or bind 127.0.0.1"
        )
    if keys is not None:
        raise NotImplementedError


def secure_client(socket: zmq.Socket[bytes], keys: Keys | None) -> None:
    """Show our key and pin the cluster's."""
    if keys is not None:
        raise NotImplementedError
