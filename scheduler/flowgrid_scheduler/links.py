"""The scheduler's end of each peer's control link: batches out, and who cannot be reached any more.

An envelope that cannot be sent is kept and tried again, so that a sequence never has a gap of our own
making. Every link carries at least an empty envelope per probe; a peer whose connection is closed is
found by that, because the ROUTER then says that it has no route.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TypeAlias

import zmq

from flowgrid.ids import ExecutorId
from flowgrid.protocol.codec import signs_of_life, to_driver_envelopes, to_executor_envelopes
from flowgrid.protocol.messages import ToDriverEnvelope, ToExecutorEnvelope
from flowgrid_scheduler.actions import Action, SendToExecutor

Peer: TypeAlias = ExecutorId | str
"""An executor, or a driver by its session."""

PROBE_INTERVAL_S = 0.1
PROBE_INTERVAL_PER_PEER_S = 0.000_2
"""Thousands of peers are probed less often: this is some ten times what a probe costs."""

PROBES_MISSED_MAX = 2
"""Closed for two probes is closed: a killed executor is noticed within 0.3 s."""

UNSENT_MAX = 1_000
"""Envelopes kept for a peer that does not read, beyond what its socket takes."""


class _Link:
    def __init__(self, identity: bytes, number: int) -> None:
        self.identity = identity
        self.number = number
        """A peer whose link was forgotten gets a later one, and knows by that why we count anew."""
        self.sequence = 0
        self.unsent: deque[bytes] = deque()
        self.missed = 0
        self.quiet = False
        """Whether nothing was sent since the last probe."""


class Links:
    """All links over one ROUTER."""

    def __init__(
        self,
        socket: zmq.Socket[bytes],
        epoch: int,
        logged: Callable[[str], int] = lambda session: 0,
    ) -> None:
        """`logged` counts the envelopes of a session whose consequences are safe."""
        self._socket = socket
        self._logged = logged
        self._epoch = epoch
        self._links: dict[Peer, _Link] = {}
        self._made = 0

    def heard(self, peer: Peer, identity: bytes) -> bool:
        """Take note of where a peer speaks from; False if that name already belongs to another."""
        link = self._links.get(peer)
        if link is None:
            self._made += 1
            link = self._links[peer] = _Link(identity, self._made)
        return link.identity == identity

    def send(self, actions: Sequence[Action]) -> None:
        """One envelope per peer, whatever their number."""
        batches: dict[Peer, list[Action]] = {}
        for action in actions:
            peer = action.executor if isinstance(action, SendToExecutor) else action.session
            batches.setdefault(peer, []).append(action)
        for peer, batch in batches.items():
            link = self._links.get(peer)
            if link is not None:
                self._send(peer, link, batch)

    def sign_of_life(self, peer: Peer) -> bytes:
        """What its heartbeat is answered with."""
        link = self._links.get(peer)
        sent = link.sequence - len(link.unsent) if link is not None else 0
        return signs_of_life.encode(sent)

    def probe(self) -> list[Peer]:
        """Touch every quiet link and return the peers that are gone; their links are forgotten."""
        gone = []
        for peer, link in self._links.items():
            if link.unsent:
                self._flush(link)
            elif link.quiet:
                self._send(peer, link, ())
            link.quiet = True
            if link.missed >= PROBES_MISSED_MAX or len(link.unsent) > UNSENT_MAX:
                gone.append(peer)
        for peer in gone:
            del self._links[peer]
        return gone

    @property
    def probe_interval_s(self) -> float:
        return max(PROBE_INTERVAL_S, PROBE_INTERVAL_PER_PEER_S * len(self._links))

    def __bool__(self) -> bool:
        return bool(self._links)

    def _send(self, peer: Peer, link: _Link, actions: Sequence[Action]) -> None:
        link.unsent.append(self._encode(peer, link, actions))
        link.sequence += 1
        if len(link.unsent) == 1:
            self._flush(link)

    def _encode(self, peer: Peer, link: _Link, actions: Sequence[Action]) -> bytes:
        sequence, messages = link.sequence, tuple(action.message for action in actions)
        if isinstance(peer, str):
            logged = self._logged(peer)
            to_driver = ToDriverEnvelope(self._epoch, sequence, messages, logged, link.number)  # type: ignore[arg-type]
            return to_driver_envelopes.encode(to_driver)
        to_executor = ToExecutorEnvelope(self._epoch, peer, sequence, messages)  # type: ignore[arg-type]
        return to_executor_envelopes.encode(to_executor)

    def _flush(self, link: _Link) -> None:
        while link.unsent:
            try:
                self._socket.send_multipart((link.identity, link.unsent[0]), zmq.DONTWAIT)
            except zmq.Again:
                return  # it is there and does not read
            except zmq.ZMQError as error:
                if error.errno != zmq.EHOSTUNREACH:
                    raise
                link.missed += 1
                return
            link.unsent.popleft()
            link.missed = 0
            link.quiet = False
