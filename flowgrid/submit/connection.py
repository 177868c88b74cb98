"""The driver's link to the scheduler: one socket in one background thread.

The thread sends what others hand over, keeps the session alive, checks that no envelope is missing,
and passes every message on. A scheduler that dies and is started again on its log is followed. It ends
when the link is closed or lost, and it says so exactly once: nobody who waits for an answer waits for a
scheduler that is gone for good.
"""

from __future__ import annotations

import collections
import contextlib
import os
import socket
import threading
import time
from collections.abc import Callable

import zmq

from flowgrid.config import Config
from flowgrid.errors import ConnectError
from flowgrid.ids import DriverId
from flowgrid.protocol.codec import DecodeError, to_driver_envelopes
from flowgrid.protocol.messages import (
    CloseSession,
    FromDriver,
    KeepAlive,
    OpenSession,
    ToDriver,
)
from flowgrid.protocol.versions import local_versions
from flowgrid.submit.session_link import EnvelopeLostError, SessionForgottenError, SessionLink
from flowgrid.transport.security import Keys
from flowgrid.transport.sockets import connect_dealer

_TURN_S = 0.2
"""Between two looks at the clock and at the scheduler's process."""

_KNOCK_AFTER_S = 1.0
"""The scheduler touches every link several times a second. One that is silent for so long may be
another one by now, which answers only those who speak."""


class Connection:
    """Starts at once. `receive` and `lost` are called in the background thread.

    `watch` says why the scheduler's process is of no use any more, where that can be known.
    """

    def __init__(
        self,
        address: str,
        keys: Keys | None,
        config: Config,
        name: str,
        receive: Callable[[ToDriver], None],
        lost: Callable[[ConnectError], None],
        watch: Callable[[], str | None],
        driver: DriverId | None = None,
    ) -> None:
        self.address = address
        self._config = config
        self._name = name
        self._receive = receive
        self._lost = lost
        self._watch = watch
        self._driver = driver
        self._link = SessionLink(os.urandom(16).hex())
        self._outbox: collections.deque[FromDriver] = collections.deque()
        self._woken, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        self._closing = threading.Event()
        self._silent_s = 0.0
        self._disconnected = False
        # Keys that cannot be used are the caller's error, so the socket is made here.
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        try:
            identity = self._link.session.encode()
            self._socket = connect_dealer(self._context, address, identity, keys)
        except BaseException:
            self._context.term()
            self._woken.close()
            self._wake.close()
            raise
        self._monitor = self._socket.get_monitor_socket(zmq.EVENT_DISCONNECTED)
        self._thread = threading.Thread(target=self._run, name="flowgrid-connection", daemon=True)
        self._thread.start()

    def send(self, *messages: FromDriver) -> None:
        """Hand over; the thread sends them in this order, in one envelope where it can."""
        self._outbox.extend(messages)
        self._ring()

    def close(self) -> None:
        """Say the last word and end the thread."""
        self._closing.set()
        self._ring()
        self._thread.join()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # it is awake already, or has ended and said so
            self._wake.send(b"\0")

    def _run(self) -> None:
        try:
            self._serve()
        except ConnectError as error:
            self._lost(error)
        except zmq.ZMQError as error:
            self._lost(ConnectError(f"the connection to {self.address} failed: {error}"))
        finally:
            self._socket.disable_monitor()
            self._monitor.close()
            self._socket.close()
            self._context.term()
            self._woken.close()
            self._wake.close()

    def _serve(self) -> None:
        poller = zmq.Poller()
        for source in (self._socket, self._monitor, self._woken):
            poller.register(source, zmq.POLLIN)
        opening = OpenSession(
            self._link.session,
            self._name,
            local_versions(),
            self._config.to_conf(),
            self._driver,
        )
        self._outbox.appendleft(opening)
        keep_alive_s = self._config.scheduler_driver_lease_s / 6
        turned = spoke_at = time.monotonic()
        while True:
            closing = self._closing.is_set()
            now = time.monotonic()
            silent = self._silent_s > _KNOCK_AFTER_S
            if now - spoke_at >= (_KNOCK_AFTER_S if silent else keep_alive_s):
                spoke_at = now
                self._outbox.append(KeepAlive())
            if closing:
                self._outbox.append(CloseSession())
            self._send_outbox()
            if closing:
                return
            readable = dict(poller.poll(int(_TURN_S * 1000)))
            self._take(readable)
            now, before = time.monotonic(), now
            # A driver that was stopped or slept has not listened: such time is no silence.
            self._silent_s += min(now - before, 2 * _TURN_S)
            if now - turned >= _TURN_S:
                turned = now
                self._check_scheduler()

    def _send_outbox(self) -> None:
        messages: list[FromDriver] = []
        while self._outbox:
            messages.append(self._outbox.popleft())
        if messages:
            self._socket.send(self._link.seal(messages), zmq.DONTWAIT)

    def _take(self, readable: dict[object, int]) -> None:
        if self._woken.fileno() in readable:
            self._woken.recv(4096)
        if self._monitor in readable:
            self._monitor.recv_multipart()
            self._disconnected = True
        while self._socket.poll(0):
            self._take_envelope(self._socket.recv())

    def _take_envelope(self, payload: bytes) -> None:
        try:
            opened = self._link.open(to_driver_envelopes.decode(payload))
        except DecodeError as error:
            raise ConnectError(
                f"{self.address} does not speak our protocol ({error}); is it a FlowGrid scheduler "
                "of this version?"
            ) from None
        except EnvelopeLostError as error:
            raise ConnectError(
                f"a message from the scheduler at {self.address} was lost ({error}); connect again"
            ) from None
        except SessionForgottenError:
            raise ConnectError(
                f"the scheduler at {self.address} was started anew, without its log, and does not know "
                "this session; connect again"
            ) from None
        for envelope in opened.again:
            self._socket.send(envelope, zmq.DONTWAIT)
        self._silent_s = 0.0
        self._disconnected = False
        for message in opened.messages:
            self._receive(message)

    def _check_scheduler(self) -> None:
        reason = self._watch()
        if reason is not None:
            raise ConnectError(reason)
        patience_s = self._config.submit_timeout_s
        if self._link.greeted and self._disconnected:
            patience_s = self._config.submit_reconnect_s
        if self._silent_s <= patience_s:
            return
        if not self._link.greeted:
            raise ConnectError(
                f"no scheduler answered at {self.address} within {patience_s:g} s: is one running "
                "there (`flowgrid scheduler`), and are the keys those of its cluster?"
            )
        raise ConnectError(
            f"the scheduler at {self.address} is gone: it closed the connection or was silent for "
            f"more than {patience_s:g} s (setting submit.reconnect_s)"
        )
