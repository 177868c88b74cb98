"""ZeroMQ sockets with every limit set: no default of the library decides how FlowGrid fails.

Addresses are ZeroMQ endpoints such as ``tcp://127.0.0.1:7077``; port 0 binds a free one. A socket is
used by the thread that made it, only. Security is in `flowgrid.transport.security`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import zmq

from flowgrid.config import MIB
from flowgrid.transport.security import Keys, secure_client, secure_server

CONTROL_MESSAGE_BYTES_MAX = 256 * MIB
"""A frame that claims more is refused before memory is set aside for it. Stage descriptors with many
tasks are the largest control messages."""

_OUTBOX_MESSAGES_MAX = 10_000
"""Messages queued for one slow peer; above it `send` says so (EAGAIN) and the peer counts as lost."""


_UNIX_RECONNECT_MS = (2, 32)
_TCP_RECONNECT_MS = (50, 2_000)
"""First and longest wait between two tries to connect. In a cluster on one machine all processes start
at once, so most find the peer's Unix socket missing at first; asking again costs microseconds there."""


@contextlib.contextmanager
def _limited(context: zmq.Context[zmq.Socket[bytes]], kind: int) -> Iterator[zmq.Socket[bytes]]:
    """A socket with limits, closed again if the block fails: an open one would hold its context."""
    socket = context.socket(kind)
    try:
        _limit(socket)
        yield socket
    except BaseException:
        socket.close(linger=0)
        raise


def _limit(socket: zmq.Socket[bytes]) -> None:
    socket.setsockopt(zmq.LINGER, 200)
    socket.setsockopt(zmq.MAXMSGSIZE, CONTROL_MESSAGE_BYTES_MAX)
    socket.setsockopt(zmq.HANDSHAKE_IVL, 5_000)
    socket.setsockopt(zmq.SNDHWM, _OUTBOX_MESSAGES_MAX)
    socket.setsockopt(zmq.RCVHWM, _OUTBOX_MESSAGES_MAX)
    socket.setsockopt(zmq.HEARTBEAT_IVL, 2_000)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, 30_000)


def bind_router(
    context: zmq.Context[zmq.Socket[bytes]], address: str, keys: Keys | None
) -> tuple[zmq.Socket[bytes], str]:
    """A ROUTER and the address it really has. An unreachable peer is an error, not a silent drop."""
    with _limited(context, zmq.ROUTER) as socket:
        socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        secure_server(socket, address, keys)
        socket.bind(address)
        return socket, str(socket.getsockopt_string(zmq.LAST_ENDPOINT))


def connect_dealer(
    context: zmq.Context[zmq.Socket[bytes]], address: str, identity: bytes, keys: Keys | None
) -> zmq.Socket[bytes]:
    """A DEALER whose `identity` must be fresh: one per incarnation, or old messages reach new peers."""
    unix = address.startswith("ipc:")
    first_ms, longest_ms = _UNIX_RECONNECT_MS if unix else _TCP_RECONNECT_MS
    with _limited(context, zmq.DEALER) as socket:
        if unix:
            # What a Unix socket has not taken by now has no reader: do not wait for one at the end.
            socket.setsockopt(zmq.LINGER, 20)
        socket.setsockopt(zmq.ROUTING_ID, identity)
        socket.setsockopt(zmq.RECONNECT_IVL, first_ms)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, longest_ms)
        secure_client(socket, keys)
        socket.connect(address)
        return socket
