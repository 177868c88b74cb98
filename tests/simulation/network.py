"""Sockets without a wire: the part of ZeroMQ that the links use, on virtual time.

A connection delivers in order, each message after a delay of its own choice. It can be clogged in one
direction (what was sent comes later, in a burst), and it can break: then everything under way is lost
in both directions, the ROUTER has no route until the peer is back, and the DEALER queues meanwhile.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import zmq

from flowgrid.transport.sockets import connect_dealer
from tests.simulation.timeline import Timeline

QUEUED_MAX = 40
"""Messages under way in one direction; above it the sender is told to try again."""

RECONNECT_S = 0.1


class _Again(zmq.Again):
    """Made without asking the library for its text: it is raised a hundred times per schedule."""

    def __init__(self) -> None:
        self.errno = errno.EAGAIN


class _NoRoute(zmq.ZMQError):
    def __init__(self) -> None:
        self.errno = errno.EHOSTUNREACH


class Pipe:
    """One direction of a connection."""

    def __init__(self, network: Network, deliver: Callable[[bytes], None]) -> None:
        self._network = network
        self._deliver = deliver
        self._queue: deque[bytes] = deque()
        self._free_at = 0.0
        self._clogged_until = 0.0
        self._life = 0

    def send(self, payload: bytes) -> None:
        """Queue it; some networks deliver some messages twice. Raises `zmq.Again` when full."""
        if len(self._queue) >= QUEUED_MAX:
            raise _Again
        timeline, life = self._network.timeline, self._life
        for _ in range(2 if self._network.duplicates() else 1):
            self._queue.append(payload)
            self._free_at = max(timeline.now + self._network.delay_s(), self._free_at)
            timeline.at(self._free_at, lambda: self._arrive(life))

    def clog(self, until: float) -> None:
        self._clogged_until = until

    def lose(self) -> None:
        """Everything under way is lost."""
        self._queue.clear()
        self._life += 1
        self._clogged_until = 0.0

    def _arrive(self, life: int) -> None:
        if life != self._life:
            return
        if self._network.timeline.now < self._clogged_until:
            self._network.timeline.at(self._clogged_until, lambda: self._arrive(life))
            return
        self._deliver(self._queue.popleft())


class Dealer:
    """The connecting end, as far as `connect_dealer` and the links use it."""

    def __init__(self, network: Network, arrived: Callable[[], None]) -> None:
        self._network = network
        self._arrived = arrived
        self._inbox: deque[bytes] = deque()
        self._unsent: deque[bytes] = deque()
        self.identity = b""
        self.connected = False
        self.closed = False
        self._address = ""
        self.to_router: Pipe
        self.to_dealer = Pipe(network, self._take)

    def setsockopt(self, option: int, value: int | bytes) -> None:
        if option == zmq.ROUTING_ID:
            assert isinstance(value, bytes)
            self.identity = value

    def connect(self, address: str) -> None:
        self._address = address
        self.to_router = Pipe(self._network, self._hand_over)
        self._find_router()

    def send(self, payload: bytes, flags: int = 0) -> None:
        if self.connected:
            self.to_router.send(payload)
        elif len(self._unsent) >= QUEUED_MAX:
            raise _Again
        else:
            self._unsent.append(payload)

    def recv_multipart(self, flags: int = 0) -> list[bytes]:
        if not self._inbox:
            raise _Again
        return [self._inbox.popleft()]

    def close(self, linger: int | None = None) -> None:
        """What was sent before still arrives."""
        self.closed = True
        self.connected = False
        self.to_dealer.lose()

    def breaks(self, for_s: float) -> None:
        """The connection is lost with all that is under way, and comes back later."""
        if self.connected:
            self.connected = False
            self.to_router.lose()
            self.to_dealer.lose()
            self._network.timeline.after(for_s, self.reconnects)

    def loses_router(self, last_words_arrive: bool) -> None:
        """The process at the other end is gone; what is sent from now on waits for the next one."""
        self.connected = False
        self.to_router.lose()
        if not last_words_arrive:
            self.to_dealer.lose()

    def reconnects(self) -> None:
        if not self.closed:
            self._find_router()
            while self.connected and self._unsent:
                self.to_router.send(self._unsent.popleft())

    def _find_router(self) -> None:
        router = self._network.routers[self._address]
        router.dealers[self.identity] = self
        self.connected = not router.gone

    def _hand_over(self, payload: bytes) -> None:
        self._network.routers[self._address].take(self.identity, payload)

    def _take(self, payload: bytes) -> None:
        self._inbox.append(payload)
        self._arrived()


class Router:
    """The binding end."""

    def __init__(self, arrived: Callable[[], None]) -> None:
        self._arrived = arrived
        self.dealers: dict[bytes, Dealer] = {}
        self.inbox: deque[tuple[bytes, bytes]] = deque()
        self.gone = False

    def die(self, last_words_arrive: Callable[[], bool]) -> None:
        """Its process is gone, and with it every connection."""
        self.gone = True
        for dealer in self.dealers.values():
            dealer.loses_router(last_words_arrive())

    def take(self, identity: bytes, payload: bytes) -> None:
        self.inbox.append((identity, payload))
        self._arrived()

    def send_multipart(self, parts: Sequence[bytes], flags: int = 0) -> None:
        identity, payload = parts
        dealer = self.dealers.get(identity)
        if dealer is None or not dealer.connected:
            raise _NoRoute
        dealer.to_dealer.send(payload)


class Network:
    """All connections. It is also the ZeroMQ context that `connect_dealer` makes its sockets in."""

    def __init__(
        self,
        timeline: Timeline,
        delay_s: Callable[[], float],
        duplicates: Callable[[], bool],
    ) -> None:
        self.timeline = timeline
        self.delay_s = delay_s
        self.duplicates = duplicates
        self.routers: dict[str, Router] = {}

    def bind(self, address: str, arrived: Callable[[], None]) -> Router:
        """A ROUTER; what was connected to an earlier one at this address finds it by and by."""
        before = self.routers.get(address)
        router = self.routers[address] = Router(arrived)
        if before is not None:
            for dealer in before.dealers.values():
                self.timeline.after(RECONNECT_S, dealer.reconnects)
        return router

    def context(self, arrived: Callable[[], None]) -> zmq.Context[zmq.Socket[bytes]]:
        """A context whose sockets call `arrived` when something has come."""
        return cast("zmq.Context[zmq.Socket[bytes]]", _Context(self, arrived))

    def connect(self, address: str, identity: bytes, arrived: Callable[[], None]) -> Dealer:
        """A DEALER made the way that every process makes it."""
        dealer = connect_dealer(self.context(arrived), address, identity, None)
        return cast(Dealer, dealer)

    def dealers(self) -> list[Dealer]:
        """Every connection that is there, control and heartbeats."""
        return [
            dealer
            for router in self.routers.values()
            for dealer in router.dealers.values()
            if dealer.connected
        ]


class _Context:
    def __init__(self, network: Network, arrived: Callable[[], None]) -> None:
        self._network = network
        self._arrived = arrived

    def socket(self, kind: int) -> Dealer:
        assert kind == zmq.DEALER
        return Dealer(self._network, self._arrived)
