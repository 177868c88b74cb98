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


class _Gatekeeper(ThreadAuthenticator):
    """Admits the keys of `allowed` (Z85 text) on CURVE sockets and names their role as User-Id."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], domain: str, allowed: Mapping[bytes, str]
    ) -> None:
        super().__init__(context)
        self._roles = allowed
        self.configure_curve_callback(domain, self)

    def callback(self, domain: str, key: bytes) -> bool:
        return key in self._roles

    def curve_user_id(self, client_public_key: bytes) -> str:
        return self._roles[z85.encode(client_public_key)]


@contextlib.contextmanager
def admitting(
    context: zmq.Context[zmq.Socket[bytes]], domain: str, allowed: Mapping[bytes, str]
) -> Iterator[None]:
    """Answer for the sockets of `context` in that ZAP domain until the block ends.

    `allowed` has the role of every public key that gets in. One at a time per context.
    """
    gatekeeper = _Gatekeeper(context, domain, allowed)
    gatekeeper.start()
    try:
        yield
    finally:
        gatekeeper.stop()
