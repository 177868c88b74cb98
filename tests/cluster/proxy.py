"""A TCP proxy between two processes: what a network does to a connection, on command."""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
import time
from collections import deque
from types import TracebackType

CHUNK_BYTES = 1 << 16
TURN_S = 0.005
FLIP_BYTES_MIN = 4096
"""A chunk of so many bytes is data and no message of the protocol."""


class _Pipe:
    """One direction of one connection: what came and has not been sent on."""

    def __init__(self, source: socket.socket, target: socket.socket, way: str) -> None:
        self.source = source
        self.target = target
        self.way = way
        self.waiting: deque[tuple[float, bytes]] = deque()


class Proxy:
    """Forwards everything that comes to `port` to `target`, as long as it is entered.

    Set `stalled` (one or both of `BOTH`: nothing goes that way, nothing is closed), `delay_s`,
    `bytes_per_s`, `flips` (so many chunks of data will have one bit changed) at any time; `cut` closes
    everything until `mend`.
    """

    THERE, BACK = "there", "back"
    BOTH = (THERE, BACK)

    def __init__(self, target_port: int) -> None:
        self.stalled: tuple[str, ...] = ()
        self.delay_s = 0.0
        self.bytes_per_s: float | None = None
        self.flips = 0
        self.bytes_forwarded = 0
        self._target_port = target_port
        self._selector = selectors.DefaultSelector()
        self.port = 0
        self._server: socket.socket | None = None
        self._listen()
        self._pipes: list[_Pipe] = []
        self._is_cut = threading.Event()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy")

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()
        self._close_all()
        self._selector.close()

    def cut(self) -> None:
        """Close every connection, and refuse new ones."""
        self._is_cut.set()

    def mend(self) -> None:
        self._is_cut.clear()

    def _run(self) -> None:
        allowance, before = 0.0, time.monotonic()
        while not self._over.is_set():
            for key, _ in self._selector.select(TURN_S):
                if self._server is not None and key.fileobj is self._server:
                    self._accept(self._server)
                else:
                    self._receive(key.data)
            if self._is_cut.is_set():
                self._close_all()
            elif self._server is None:
                self._listen()
            now = time.monotonic()
            allowance = min(allowance + (now - before) * (self.bytes_per_s or 0), CHUNK_BYTES)
            before = now
            for pipe in list(self._pipes):
                allowance -= self._forward(pipe, now, allowance)

    def _listen(self) -> None:
        """On any port at first, later always on the same."""
        self._server = socket.create_server(("127.0.0.1", self.port))
        self._server.setblocking(False)
        self.port = self._server.getsockname()[1]
        self._selector.register(self._server, selectors.EVENT_READ)

    def _accept(self, server: socket.socket) -> None:
        ours, _ = server.accept()
        try:
            theirs = socket.create_connection(("127.0.0.1", self._target_port), timeout=1)
        except OSError:
            ours.close()
            return
        for source, target, way in ((ours, theirs, self.THERE), (theirs, ours, self.BACK)):
            source.setblocking(False)
            pipe = _Pipe(source, target, way)
            self._pipes.append(pipe)
            self._selector.register(source, selectors.EVENT_READ, pipe)

    def _receive(self, pipe: _Pipe) -> None:
        if pipe.way in self.stalled or len(pipe.waiting) > 64:
            time.sleep(TURN_S)
            return
        try:
            data = pipe.source.recv(CHUNK_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if data:
            pipe.waiting.append((time.monotonic() + self.delay_s, self._flipped(data)))
        else:
            self._close(pipe)

    def _flipped(self, data: bytes) -> bytes:
        if self.flips <= 0 or len(data) < FLIP_BYTES_MIN:
            return data
        self.flips -= 1
        flipped = bytearray(data)
        flipped[-len(data) // 4] ^= 1
        return bytes(flipped)

    def _forward(self, pipe: _Pipe, now: float, allowance: float) -> float:
        """Send what is due, and return how much that was."""
        sent_bytes = 0
        while pipe.waiting and pipe.waiting[0][0] <= now and pipe.way not in self.stalled:
            _, data = pipe.waiting[0]
            if self.bytes_per_s is not None and sent_bytes + len(data) > allowance:
                size = max(0, int(allowance - sent_bytes))
                if not size:
                    break
                data = data[:size]
            try:
                sent = pipe.target.send(data)
            except BlockingIOError:
                break
            except OSError:
                self._close(pipe)
                break
            due, whole = pipe.waiting.popleft()
            if sent < len(whole):
                pipe.waiting.appendleft((due, whole[sent:]))
            sent_bytes += sent
        self.bytes_forwarded += sent_bytes
        return sent_bytes

    def _close(self, pipe: _Pipe) -> None:
        """The connection, both directions of it."""
        for end in (pipe.source, pipe.target):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(end)
            end.close()
        self._pipes = [p for p in self._pipes if p.source not in (pipe.source, pipe.target)]

    def _close_all(self) -> None:
        if self._server is not None:
            self._selector.unregister(self._server)
            self._server.close()
            self._server = None
        for pipe in list(self._pipes):
            self._close(pipe)


def free_port() -> int:
    """A port of the loopback interface that nobody listens on at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
