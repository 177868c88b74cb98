"""The gatekeeper of a server's context: answers ZeroMQ's ZAP requests from a list of public keys.

Everybody who is let in is known by their role: `flowgrid.transport.security.role_of` reads it from
any frame they send. Import this lazily; it brings in asyncio.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping

import zmq
from zmq.auth.thread import ThreadAuthenticator
from zmq.utils import z85

from flowgrid.transport.security import ZAP_DOMAIN, Role


class _Gatekeeper(ThreadAuthenticator):
    """Admits the keys of `allowed` (Z85 text) on CURVE sockets and names their role as User-Id."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], allowed: Mapping[bytes, Role]
    ) -> None:
        super().__init__(context)
        self._roles = allowed
        self.configure_curve_callback(ZAP_DOMAIN.decode(), self)

    def callback(self, domain: str, key: bytes) -> bool:
        return key in self._roles

    def curve_user_id(self, client_public_key: bytes) -> str:
        return self._roles[z85.encode(client_public_key)].value


@contextlib.contextmanager
def admitting(
    context: zmq.Context[zmq.Socket[bytes]], allowed: Mapping[bytes, Role]
) -> Iterator[None]:
    """Answer for all sockets of `context` until the block ends. One at a time per context."""
    gatekeeper = _Gatekeeper(context, allowed)
    gatekeeper.start()
    try:
        yield
    finally:
        gatekeeper.stop()
