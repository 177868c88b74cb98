"""Real sockets on 127.0.0.1: who gets in, as what, and who does not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import zmq

from flowgrid.errors import ConfigError
from flowgrid.transport.security import (
    InsecureBindError,
    Keys,
    Role,
    admission,
    create_keys,
    is_loopback,
    role_of,
)
from flowgrid.transport.sockets import bind_router, connect_dealer

COVERS = ["admission", "sockets"]

Context = zmq.Context[zmq.Socket[bytes]]


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    create_keys(tmp_path / "keys")
    return Keys(tmp_path / "keys", Role.SUBMITTER)


@pytest.fixture
def server(keys: Keys) -> Iterator[tuple[zmq.Socket[bytes], str]]:
    """A CURVE server of the cluster and its address."""
    with zmq.Context() as context, admission(context, keys):
        socket, address = bind_router(context, "tcp://127.0.0.1:0", keys)
        with socket:
            yield socket, address


@pytest.fixture
def context() -> Iterator[Context]:
    with zmq.Context() as context:
        yield context


def role_heard(
    server: zmq.Socket[bytes], client: zmq.Socket[bytes], wait_ms: int = 5_000
) -> str | None:
    """As what the server hears a word of the client; "nobody" when it does not."""
    with client:
        client.send(b"hello")
        if not server.poll(wait_ms):
            return "nobody"
        frames = server.recv_multipart(copy=False)
        assert frames[1].bytes == b"hello"
        return role_of(frames[1])


@pytest.mark.parametrize("role", list(Role))
def test_a_listed_key_gets_in_as_its_role(
    role: Role, keys: Keys, server: tuple[zmq.Socket[bytes], str], context: Context
) -> None:
    client = connect_dealer(context, server[1], b"me", Keys(keys.directory, role))

    assert role_heard(server[0], client) == role


def test_a_key_that_is_not_listed_stays_out(
    keys: Keys, server: tuple[zmq.Socket[bytes], str], context: Context, tmp_path: Path
) -> None:
    create_keys(tmp_path / "other")
    (tmp_path / "other/cluster.key").write_bytes((keys.directory / "cluster.key").read_bytes())
    client = connect_dealer(context, server[1], b"me", Keys(tmp_path / "other", Role.SUBMITTER))

    assert role_heard(server[0], client, wait_ms=300) == "nobody"


def test_no_key_at_all_stays_out(server: tuple[zmq.Socket[bytes], str], context: Context) -> None:
    client = connect_dealer(context, server[1], b"me", keys=None)

    assert role_heard(server[0], client, wait_ms=300) == "nobody"


def test_a_client_says_nothing_to_a_server_with_the_wrong_key(
    keys: Keys, server: tuple[zmq.Socket[bytes], str], context: Context, tmp_path: Path
) -> None:
    create_keys(tmp_path / "other")
    (keys.directory / "cluster.key").write_bytes((tmp_path / "other/cluster.key").read_bytes())
    client = connect_dealer(context, server[1], b"me", keys)

    assert role_heard(server[0], client, wait_ms=300) == "nobody"


def test_without_keys_there_are_no_roles(context: Context) -> None:
    socket, address = bind_router(context, "tcp://127.0.0.1:0", keys=None)
    with socket:
        assert role_heard(socket, connect_dealer(context, address, b"me", keys=None)) is None


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:0", "tcp://192.0.2.1:7077", "tcp://*:0"])
def test_an_address_that_strangers_can_reach_needs_keys(address: str, context: Context) -> None:
    with pytest.raises(InsecureBindError, match="flowgrid keys DIR"):
        bind_router(context, address, keys=None)


def test_an_address_that_is_taken_is_an_error_and_leaves_no_socket(context: Context) -> None:
    socket, address = bind_router(context, "tcp://127.0.0.1:0", keys=None)
    with socket, pytest.raises(zmq.ZMQError, match="in use"):
        bind_router(context, address, keys=None)
    context.term()  # waits for every open socket


def test_what_is_loopback() -> None:
    assert is_loopback("tcp://127.0.0.1:1")
    assert is_loopback("tcp://[::1]:1")
    assert is_loopback("tcp://localhost:1")
    assert is_loopback("ipc:///tmp/x")
    assert not is_loopback("tcp://10.0.0.1:1")
    assert not is_loopback("tcp://example.org:1")


def test_a_gate_that_lets_strangers_in_does_not_open(
    keys: Keys, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flowgrid.transport import admission as gate

    monkeypatch.setattr(gate._Gatekeeper, "callback", lambda self, domain, key: True)
    monkeypatch.setattr(gate._Gatekeeper, "curve_user_id", lambda self, key: "anybody")
    with pytest.raises(ConfigError, match="not refused"), admission(context, keys):
        pass


def test_a_server_with_keys_and_no_gate_does_not_bind(keys: Keys, context: Context) -> None:
    with pytest.raises(RuntimeError, match="admission"):
        bind_router(context, "tcp://127.0.0.1:0", keys)


def test_secrets_are_for_their_owner_only_and_never_overwritten(keys: Keys) -> None:
    secrets = list(keys.directory.glob("*.key_secret"))
    assert {path.stem for path in secrets} == {"cluster", *Role}
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}
    assert keys.directory.stat().st_mode & 0o777 == 0o700
    with pytest.raises(ConfigError, match="never overwritten"):
        create_keys(keys.directory)


def test_a_secret_that_others_can_read_is_refused(keys: Keys) -> None:
    (keys.directory / "submitter.key_secret").chmod(0o640)

    with pytest.raises(ConfigError, match="chmod 600"):
        keys.client()


def test_a_missing_key_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"observer\.key_secret"):
        Keys(tmp_path, Role.OBSERVER).client()


def test_an_allow_list_that_others_can_write_is_refused(keys: Keys) -> None:
    (keys.directory / "allowed").chmod(0o770)

    with pytest.raises(ConfigError, match="others may write"):
        keys.allowed()


def test_a_further_key_may_be_listed_under_its_role(keys: Keys) -> None:
    allowed = keys.directory / "allowed"
    (allowed / "submitter.key").rename(allowed / "submitter-alice.key")
    assert Role.SUBMITTER in keys.allowed().values()

    (allowed / "observer.key").rename(allowed / "root.key")
    with pytest.raises(ConfigError, match="must begin with a role"):
        keys.allowed()
