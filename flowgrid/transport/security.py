"""Who may talk to whom: loopback is open to this machine, everything else needs CURVE keys.

A keys directory, made by `flowgrid keys DIR`, holds::

    cluster.key  cluster.key_secret      the servers of the cluster: scheduler and executors
    submitter.key_secret                 one certificate per role; a machine needs only its own
    executor.key_secret
    observer.key_secret
    allowed/<role>[-<anything>].key      the public keys that get in, and as what

Keys are never made silently: a process that is given a directory without the right keys refuses to
start. What admits the listed keys is `flowgrid.transport.admission`; a server opens it first::

    with admission(context, keys):
        socket, address = bind_router(context, "tcp://10.0.0.7:7077", keys)
"""

from __future__ import annotations

import contextlib
import enum
import ipaddress
import os
import stat
import weakref
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import zmq

from flowgrid.errors import ConfigError

# zmq.auth and what stands on it (asyncio) take 50 ms to import, which clusters without keys need not
# wait for: they are imported inside the functions that are only called with keys.

ZAP_DOMAIN = b"flowgrid"

_admitting: weakref.WeakSet[zmq.Context[zmq.Socket[bytes]]] = weakref.WeakSet()


class InsecureBindError(ConfigError):
    """An address that other machines can reach, and no keys."""


class Role(enum.StrEnum):
    """What the holder of a key is: it decides what the scheduler will take from them."""

    SUBMITTER = "submitter"
    EXECUTOR = "executor"
    OBSERVER = "observer"


class Keys(msgspec.Struct, frozen=True):
    """The keys of one process: what a server needs to be one, and what a client shows as `role`."""

    directory: Path
    role: str

    def server(self) -> tuple[bytes, bytes]:
        """The cluster's public and secret key. Raises `ConfigError`."""
        return _load_secret(self.directory / "cluster.key_secret")

    def client(self) -> tuple[bytes, bytes]:
        """This role's public and secret key. Raises `ConfigError`."""
        return _load_secret(self.directory / f"{self.role}.key_secret")

    def cluster_public(self) -> bytes:
        """The public key that the servers of this cluster must have. Raises `ConfigError`."""
        return _load_public(self.directory / "cluster.key")

    def allowed(self) -> dict[bytes, Role]:
        """The public keys that get in. Raises `ConfigError` for a list that is not to be trusted."""
        folder = self.directory / "allowed"
        if not folder.is_dir():
            raise ConfigError(f"{folder} is missing: it lists the public keys that get in")
        if folder.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ConfigError(f"others may write to {folder}; chmod 700 {folder}")
        return {_load_public(path): _role_by_name(path) for path in sorted(folder.glob("*.key"))}


def create_keys(directory: Path) -> list[Path]:
    """Make the keys of a new cluster; returns the secret files. Never overwrites: `ConfigError`."""
    from zmq.auth import create_certificates

    allowed = directory / "allowed"
    try:
        if directory.exists() and any(directory.iterdir()):
            raise ConfigError(f"{directory} is not empty; keys are never overwritten")
        # Certificates are made inside a folder that nobody else can enter, so that there is no
        # moment in which a secret could be read before its own permissions are narrowed.
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        allowed.mkdir(mode=0o700)
    except OSError as error:
        raise ConfigError(f"cannot make keys in {directory}: {error.strerror}") from None
    secrets = []
    for name in ("cluster", *Role):
        public, secret = map(Path, create_certificates(directory, name))
        secret.chmod(0o600)
        secrets.append(secret)
        if name != "cluster":
            public.rename(allowed / public.name)
    return secrets


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach a ZeroMQ endpoint."""
    parts = urlsplit(address)
    if parts.scheme in ("ipc", "inproc"):
        return True
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def require_secure(address: str, with_keys: bool) -> None:
    """Raise `InsecureBindError` for a bind that strangers could reach."""
    if not with_keys and not is_loopback(address):
        raise InsecureBindError(
            f"{address} can be reached from other machines and there are no keys: "
            "give --keys DIR (made by `flowgrid keys DIR`), or bind 127.0.0.1"
        )


def secure_server(socket: zmq.Socket[bytes], address: str, keys: Keys | None) -> None:
    """Refuse a bind that strangers could reach; with keys, make the socket a CURVE server."""
    require_secure(address, keys is not None)
    if keys is None:
        return
    if socket.context not in _admitting:
        raise RuntimeError("a server with keys binds inside `with admission(context, keys)`")
    public, secret = keys.server()
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    # Without this libzmq lets everybody in whenever nobody answers for the domain.
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def secure_client(socket: zmq.Socket[bytes], keys: Keys | None) -> None:
    """Show our key and pin the cluster's."""
    if keys is None:
        return
    public, secret = keys.client()
    socket.setsockopt(zmq.CURVE_PUBLICKEY, public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, secret)
    socket.setsockopt(zmq.CURVE_SERVERKEY, keys.cluster_public())


@contextlib.contextmanager
def admission(context: zmq.Context[zmq.Socket[bytes]], keys: Keys | None) -> Iterator[None]:
    """While open, `context` admits the listed keys and nobody else; without keys it does nothing.

    Proves at the start, with a random key, that strangers are refused. Raises `ConfigError`.
    """
    if keys is None:
        yield
        return
    # Imported here for the reason given at the top of this module.
    from flowgrid.transport.admission import admitting

    with admitting(context, ZAP_DOMAIN.decode(), keys.allowed()):
        _admitting.add(context)
        try:
            _check_strangers_are_refused(context, keys)
            yield
        finally:
            _admitting.discard(context)


def role_of(frame: zmq.Frame) -> str | None:
    """The role of the key behind a received frame (`copy=False`); None on a socket without keys."""
    try:
        return str(frame.get("User-Id"))
    except zmq.ZMQError:
        return None


def _check_strangers_are_refused(context: zmq.Context[zmq.Socket[bytes]], keys: Keys) -> None:
    seen = None
    with context.socket(zmq.ROUTER) as server, context.socket(zmq.DEALER) as stranger:
        server.setsockopt(zmq.LINGER, 0)
        stranger.setsockopt(zmq.LINGER, 0)
        secure_server(server, "tcp://127.0.0.1:*", keys)
        server.bind("tcp://127.0.0.1:*")
        public, secret = zmq.curve_keypair()
        stranger.setsockopt(zmq.CURVE_PUBLICKEY, public)
        stranger.setsockopt(zmq.CURVE_SECRETKEY, secret)
        stranger.setsockopt(zmq.CURVE_SERVERKEY, keys.server()[0])
        refused = zmq.EVENT_HANDSHAKE_FAILED_AUTH
        with stranger.get_monitor_socket(refused | zmq.EVENT_HANDSHAKE_SUCCEEDED) as monitor:
            stranger.connect(str(server.getsockopt_string(zmq.LAST_ENDPOINT)))
            if monitor.poll(5_000):
                # The first frame begins with the event's number as 16 bits.
                seen = int.from_bytes(monitor.recv_multipart()[0][:2], "little")
            stranger.disable_monitor()
    if seen != refused:
        raise ConfigError("a connection with an unlisted key was not refused; not starting")


def _load_secret(path: Path) -> tuple[bytes, bytes]:
    from zmq.auth import load_certificate

    try:
        mode = path.stat().st_mode
        if mode & 0o077:
            raise ConfigError(f"others may read {path}; chmod 600 {path}")
        public, secret = load_certificate(path)
    except (OSError, ValueError) as error:
        raise _unusable(path, error) from None
    if secret is None:
        raise ConfigError(f"{path} holds no secret key")
    return public, secret


def _load_public(path: Path) -> bytes:
    from zmq.auth import load_certificate

    try:
        return load_certificate(path)[0]
    except (OSError, ValueError) as error:
        raise _unusable(path, error) from None


def _unusable(path: Path, error: Exception) -> ConfigError:
    why = os.strerror(error.errno) if isinstance(error, OSError) and error.errno else str(error)
    return ConfigError(f"no key in {path}: {why}; `flowgrid keys DIR` makes a cluster's keys")


def _role_by_name(path: Path) -> Role:
    try:
        return Role(path.stem.partition("-")[0])
    except ValueError:
        roles = ", ".join(Role)
        raise ConfigError(f"{path}: the name must begin with a role ({roles})") from None
