"""The supervisor: sockets, a clock and child processes around an `ExecutorCore`.

It turns what arrives into events and actions into deeds, and never waits for anything but the next
event: no user code and no kernel runs here, so its heartbeats tell whether the executor is alive and
nothing else.
"""

from __future__ import annotations

import contextlib
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import assert_never

import msgspec
import zmq

from flowgrid.config import Config
from flowgrid.ids import ExecutorId
from flowgrid.protocol.job_graph import ExecutorAddress
from flowgrid.protocol.messages import RegisterExecutor
from flowgrid.protocol.programs import HeldDriver
from flowgrid.protocol.reports import HeldAttempt
from flowgrid.protocol.versions import local_versions
from flowgrid.protocol.waits import AttemptProgress
from flowgrid.transport.block_server import BlockServer
from flowgrid.transport.host import host_identity
from flowgrid.transport.security import Keys, admission
from flowgrid_executor.block_copier import BlockCopier
from flowgrid_executor.block_store import BlockStore
from flowgrid_executor.core import ExecutorCore
from flowgrid_executor.driver_processes import DriverProcesses
from flowgrid_executor.events import (
    Action,
    AnswerRollCall,
    ClearSpill,
    DropAllBlocks,
    DropBlocks,
    DropJobBlocks,
    Event,
    ExcludeDirectory,
    Exit,
    FetchBlocks,
    KeepBlocks,
    KillDriver,
    ReadDriver,
    Rejoin,
    RunDriver,
    RunInSlot,
    Send,
    SendHeartbeats,
    StartTemplate,
    StopRequested,
    Tick,
)
from flowgrid_executor.executor_setup import ExecutorSetup, spill_name
from flowgrid_executor.outbox import Outbox
from flowgrid_executor.progress import read_progress
from flowgrid_executor.scheduler_link import SchedulerLink
from flowgrid_executor.slot_protocol import ForkSlot, KillSlot
from flowgrid_executor.slots import Slots

LEASE_SHARE = 0.8
"""Of the time after which the scheduler gives a silent executor's work away: an executor that is cut
off has stopped working before others begin."""


class Options(msgspec.Struct, frozen=True):
    """What the command line says."""

    scheduler: str
    name: str
    slot_count: int
    threads_per_slot: int
    directories: tuple[Path, ...]
    memory_bytes: int
    bind: str
    keys_directory: str
    owner_fd: int | None
    ready_fd: int | None
    config: Config

    @property
    def home(self) -> Path:
        return self.directories[0]

    def setup(self) -> ExecutorSetup:
        return ExecutorSetup(
            slot_count=self.slot_count,
            threads_per_slot=self.threads_per_slot,
            memory_bytes=self.memory_bytes,
            directory=str(self.home),
            host=host_identity(),
            settings=self.config.to_conf(),
            keys_directory=self.keys_directory,
            lease_s=self.config.executor_heartbeat_timeout_s * LEASE_SHARE,
            more_directories=tuple(map(str, self.directories[1:])),
        )


def run_executor(options: Options, slots: Slots) -> int:
    """Be an executor until told to end; the exit code. Raises `ConfigError`."""
    keys = Keys(Path(options.keys_directory), "executor") if options.keys_directory else None
    with (
        zmq.Context() as context,
        # In a cluster that is owned the parent is the cluster's: if it is gone, so is the cluster.
        contextlib.closing(
            BlockStore(*options.directories, parents=options.owner_fd is None)
        ) as store,
        admission(context, keys),
        contextlib.closing(
            BlockServer(context, options.bind, options.directories, keys)
        ) as block_server,
        _signals(options.owner_fd is not None) as signals,
    ):
        server = ExecutorServer(options, slots, store, block_server.address, context, keys)
        try:
            return server.run(signals)
        finally:
            server.close()
            slots.close()  # before the directory goes: nobody may write there any more


class ExecutorServer:
    """Holds the core and everything that its actions need."""

    def __init__(
        self,
        options: Options,
        slots: Slots,
        store: BlockStore,
        data_address: str,
        context: zmq.Context[zmq.Socket[bytes]],
        keys: Keys | None,
    ) -> None:
        self._options = options
        self._setup = options.setup()
        self._ready_fd = options.ready_fd
        self._slots = slots
        self._store = store
        self._data_address = data_address
        self._context = context
        self._keys = keys
        self._copier = BlockCopier(context, keys, self._setup.host)
        self._drivers = DriverProcesses(
            options.scheduler,
            options.keys_directory,
            options.home,
            lambda folder: store.clear(folder.name),
        )
        self._core = ExecutorCore(self._setup, time.monotonic())
        self._poller = zmq.Poller()
        self._sources: tuple[object, ...] = ()
        self._outbox = Outbox()
        self._exit: Exit | None = None
        self._join()

    def close(self) -> None:
        self._drivers.close()
        self._copier.close()
        self._link.close()

    def run(self, signals: socket.socket) -> int:
        for action in self._core.start():
            self._perform(action, time.monotonic())
        interval_s = self._options.config.executor_heartbeat_interval_s
        beat_at = time.monotonic()
        while self._exit is None:
            due = min(beat_at, self._outbox.due(self._core.has_backlog), self._slots.look_at)
            arrived = self._wait(signals, max(due - time.monotonic(), 0.0))
            happened: list[Event] = [*self._link.events(arrived)]
            if self._copier.fileno() in arrived:
                happened += self._copier.ended()
            if self._slots.fileno() in arrived:
                happened += self._slots.events()
            if self._drivers.fileno() in arrived:
                happened += self._drivers.events()
            if signals.fileno() in arrived:
                happened.append(StopRequested(signal.Signals(signals.recv(1)[0]).name))
            if self._options.owner_fd in arrived:
                happened.append(StopRequested("its owner is gone"))
            now = time.monotonic()
            if now >= self._slots.look_at:
                happened += self._slots.overruns()
            if now >= beat_at:
                beat_at = now + interval_s
                excluded = self._core.directories.excluded()
                self._link.beat(self._store.bytes_held, self._progress(now), excluded)
                happened.append(Tick(self._store.room()))
            self._settle(happened, now)
        if self._exit.refused:
            self._say(self._exit.reason)
        return 1 if self._exit.refused else 0

    def _progress(self, now: float) -> list[AttemptProgress]:
        return [
            read_progress(Path(self._setup.progress_path(slot)), attempt, run_s, now)
            for slot, attempt, run_s in self._core.running(now)
        ]

    def _wait(self, signals: socket.socket, timeout_s: float) -> set[object]:
        sources = (
            self._slots.fileno(),
            self._copier.fileno(),
            self._drivers.fileno(),
            signals.fileno(),
            *self._link.sockets,
        )
        if sources != self._sources:
            self._sources, self._poller = sources, zmq.Poller()
            for readable in sources:
                self._poller.register(readable, zmq.POLLIN)
            if self._options.owner_fd is not None:
                self._poller.register(self._options.owner_fd, zmq.POLLIN)
        return {readable for readable, _ in self._poller.poll(math.ceil(timeout_s * 1000))}

    def _settle(self, happened: Sequence[Event], now: float) -> None:
        """Decide and act; all that is to be said now goes into one envelope."""
        while True:
            for event in happened:
                for action in self._core.handle(event, now):
                    self._perform(action, now)
            happened = ()
            if self._outbox.due(self._core.has_backlog) <= now:
                happened = self._link.send(self._outbox.take())
            if not happened:
                return

    def _perform(self, action: Action, now: float) -> None:
        match action:
            case Send():
                self._outbox.add(action.message, now)
            case RunInSlot():
                self._slots.run(action.slot, action.request)
            case ForkSlot():
                self._slots.fork(action.slot)
            case KillSlot():
                self._slots.kill(action.slot)
            case StartTemplate():
                self._slots.start_template()
            case KeepBlocks():
                self._store.keep(action.attempt)
            case FetchBlocks():
                self._copier.fetch(action)
            case DropBlocks():
                self._store.drop(action.attempt)
            case DropJobBlocks():
                self._store.drop_job(action.job)
            case DropAllBlocks():
                self._store.drop_all()
            case ClearSpill():
                self._store.clear(spill_name(action.slot))
            case ExcludeDirectory():
                self._say(f"{action.directory} is excluded: {action.reason}")
            case RunDriver():
                self._drivers.run(action.driver, action.spec)
            case KillDriver():
                self._drivers.kill(action.driver)
            case ReadDriver():
                self._drivers.read(action.driver)
            case SendHeartbeats():
                self._link.send_heartbeats_to(action.address)
                self._report_ready()
            case Rejoin():
                self._say(f"{action.reason}; registering anew")
                self._link.close()
                self._join()
            case AnswerRollCall():
                held = tuple(claim for claim in action.held if self._is_there(claim))
                self._outbox.take()
                registration = self._registration(self._link.epoch, held, action.drivers)
                self._outbox.add(registration, now)
            case Exit():
                self._exit = action
            case _:
                assert_never(action)

    def _join(self) -> None:
        """A new incarnation, a new link, and the first word on it."""
        self._executor = ExecutorId(self._options.name, int.from_bytes(os.urandom(8)))
        self._link = SchedulerLink(
            self._context, self._options.scheduler, self._executor, self._keys
        )
        self._outbox.take()
        self._outbox.add(self._registration(), time.monotonic())
        self._settle((), time.monotonic())

    def _registration(
        self,
        epoch: int = 0,
        held: tuple[HeldAttempt, ...] = (),
        drivers: tuple[HeldDriver, ...] = (),
    ) -> RegisterExecutor:
        return RegisterExecutor(
            address=ExecutorAddress(
                executor=self._executor,
                host=self._setup.host,
                directory=self._setup.directory,
                data_address=self._data_address,
                more_directories=self._setup.more_directories,
            ),
            slots=self._setup.slot_count,
            memory_bytes=self._setup.memory_bytes,
            versions=local_versions(),
            epoch=epoch,
            held=held,
            drivers=drivers,
        )

    def _is_there(self, claim: HeldAttempt) -> bool:
        """Whether the blocks of a claim are on the disk; a sink's files are in its own place."""
        report = claim.report
        return report is None or bool(report.files) or self._store.holds(claim.attempt)

    def _report_ready(self) -> None:
        if self._ready_fd is not None:
            with contextlib.suppress(OSError):  # nobody may be listening any more
                os.write(self._ready_fd, b"ready\n")
            os.close(self._ready_fd)
            self._ready_fd = None

    def _say(self, text: str) -> None:
        with contextlib.suppress(OSError):
            print(f"flowgrid executor {self._executor}: {text}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def _signals(owned: bool) -> Iterator[socket.socket]:
    """A socket on which SIGTERM, SIGHUP and SIGINT arrive as one byte each.

    An executor with an owner leaves Ctrl-C to it: the terminal sends it to the whole group. One that
    was started with nohup stays when its terminal goes.
    """
    receiver, sender = socket.socketpair()
    with receiver, sender:
        sender.setblocking(False)
        signal.set_wakeup_fd(sender.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda number, frame: None)
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
            signal.signal(signal.SIGHUP, lambda number, frame: None)
        signal.signal(signal.SIGINT, signal.SIG_IGN if owned else lambda number, frame: None)
        try:
            yield receiver
        finally:
            signal.set_wakeup_fd(-1)
