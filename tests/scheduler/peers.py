"""A real scheduler process, and scripted peers that speak to it over real sockets."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import zmq

from flowgrid.ids import ExecutorId
from flowgrid.protocol.codec import (
    driver_envelopes,
    executor_envelopes,
    heartbeats,
    to_driver_envelopes,
    to_executor_envelopes,
)
from flowgrid.protocol.job_graph import ExecutorAddress
from flowgrid.protocol.messages import (
    DriverEnvelope,
    ExecutorEnvelope,
    ExecutorRegistered,
    FromDriver,
    FromExecutor,
    Heartbeat,
    OpenSession,
    RegisterExecutor,
    SessionOpened,
)
from flowgrid.protocol.versions import local_versions
from flowgrid.transport.security import Keys
from flowgrid.transport.sockets import connect_dealer

ROOT = Path(__file__).parents[2]
DEADLINE_S = 20.0

M = TypeVar("M")


class Scheduler:
    """A running scheduler process; `owner` is the write end of the pipe whose end it obeys.

    An owned scheduler removes its state at its end; with `owned=False` it stays.
    """

    def __init__(self, state_dir: Path, *flags: str, owned: bool = True) -> None:
        state_dir.mkdir(exist_ok=True)
        ready_reader, ready_writer = os.pipe()
        owner_reader, self.owner = os.pipe()
        path = os.pathsep.join((str(ROOT), str(ROOT / "scheduler")))
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "flowgrid_scheduler", "--bind", "tcp://127.0.0.1:0"),
                *("--state-dir", str(state_dir), "--ready-fd", str(ready_writer)),
                *(("--owner-fd", str(owner_reader)) if owned else ()),
                *flags,
            ],
            env={**os.environ, "PYTHONPATH": path},
            pass_fds=(ready_writer, owner_reader),
        )
        os.close(ready_writer)
        os.close(owner_reader)
        with os.fdopen(ready_reader) as ready:
            facts: dict[str, Any] = json.loads(ready.readline())
        self.control, self.heartbeat = facts["control"], facts["heartbeat"]

    def close(self) -> None:
        """End it by SIGTERM; tests of the owner's end close `owner` themselves."""
        self.process.terminate()
        os.close(self.owner)
        assert self.process.wait(DEADLINE_S) == 0


class _Peer:
    """A DEALER with a script: say, then await a word of some type."""

    def __init__(self, scheduler: Scheduler, identity: bytes, keys: Keys | None = None) -> None:
        self.context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self.socket = connect_dealer(self.context, scheduler.control, identity, keys)
        self.sequence = 0
        self.words: list[object] = []

    def decode(self, frame: bytes) -> tuple[object, ...]:
        raise NotImplementedError

    def awaits(self, kind: type[M], meanwhile: Callable[[], object] = lambda: None) -> M:
        """The next word of a type; others are skipped."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            while self.words:
                word = self.words.pop(0)
                if isinstance(word, kind):
                    return word
            if self.socket.poll(50):
                self.words += self.decode(self.socket.recv())
            meanwhile()
        raise AssertionError(f"no {kind.__name__} within {DEADLINE_S} s")

    def close(self) -> None:
        self.context.destroy(linger=0)


class Driver(_Peer):
    def __init__(
        self, scheduler: Scheduler, session: str = "5" * 32, keys: Keys | None = None
    ) -> None:
        super().__init__(scheduler, session.encode() or b"observer", keys)
        self.session = session

    def decode(self, frame: bytes) -> tuple[object, ...]:
        return to_driver_envelopes.decode(frame).messages

    def says(self, *messages: FromDriver) -> None:
        self.socket.send(
            driver_envelopes.encode(DriverEnvelope(self.session, self.sequence, messages))
        )
        self.sequence += 1

    def connects(self) -> SessionOpened:
        self.says(OpenSession(self.session, "scripted driver", local_versions()))
        return self.awaits(SessionOpened)


class Executor(_Peer):
    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self.id = ExecutorId(name, int.from_bytes(os.urandom(7), "big"))
        super().__init__(scheduler, str(self.id).encode())
        self.received = 0
        self.heart: zmq.Socket[bytes] | None = None

    def decode(self, frame: bytes) -> tuple[object, ...]:
        envelope = to_executor_envelopes.decode(frame)
        assert envelope.sequence == self.received, "the scheduler left a gap"
        self.received += 1
        return envelope.messages

    def says(self, *messages: FromExecutor) -> None:
        envelope = ExecutorEnvelope(self.id, self.sequence, messages)
        self.socket.send(executor_envelopes.encode(envelope))
        self.sequence += 1

    def registers(self, slots: int = 2) -> None:
        address = ExecutorAddress(self.id, "host", "/blocks", "tcp://127.0.0.1:1")
        self.says(RegisterExecutor(address, slots, 1 << 30, local_versions()))
        where = self.awaits(ExecutorRegistered).heartbeat_address
        self.heart = connect_dealer(self.context, where, str(self.id).encode(), None)

    def reads_on(self) -> None:
        """Take what has come, and do nothing about it."""
        while self.socket.poll(0):
            self.decode(self.socket.recv())

    def beats(self) -> None:
        """One heartbeat, honest about what was sent."""
        assert self.heart is not None
        self.heart.send(heartbeats.encode(Heartbeat(self.id, self.sequence, self.received)))


@contextlib.contextmanager
def scheduler(state_dir: Path, *flags: str, owned: bool = True) -> Iterator[Scheduler]:
    running = Scheduler(state_dir, *flags, owned=owned)
    try:
        yield running
    finally:
        running.close()


@contextlib.contextmanager
def executor_process(running: Scheduler, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """An executor in a process of its own, to be killed: it registers, beats, and does no work."""
    program = (
        "from types import SimpleNamespace\n"
        "from tests.scheduler.peers import Executor, forever\n"
        f"executor = Executor(SimpleNamespace(control={running.control!r}), {name!r})\n"
        "executor.registers()\n"
        "forever(executor)\n"
    )
    path = os.pathsep.join((str(ROOT), str(ROOT / "scheduler")))
    child = subprocess.Popen(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}
    )
    try:
        yield child
    finally:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        child.wait(DEADLINE_S)


def forever(executor: Executor) -> None:
    """Beat until killed."""
    while True:
        executor.beats()
        executor.socket.poll(200)
        executor.reads_on()
