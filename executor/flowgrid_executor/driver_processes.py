"""Driver processes seen from the supervisor: start, read, watch, kill.

Each is the leader of a session of its own, so that what the program starts is killed with it. Nothing in
here waits for a driver: what it prints is read in pieces, one for each `read`.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TypeAlias

from flowgrid.ids import DriverId
from flowgrid.protocol.programs import ProgramSpec
from flowgrid_executor.driver_main import ARCHIVE
from flowgrid_executor.events import DriverExited, DriverSpoke

DriverEvent: TypeAlias = DriverSpoke | DriverExited

_PIECE_BYTES = 1 << 16


class _Process:
    def __init__(self, child: subprocess.Popen[bytes], folder: Path) -> None:
        self.child = child
        self.folder = folder
        self.handle = os.pidfd_open(child.pid)
        assert child.stdout is not None
        assert child.stderr is not None
        self.pipes: list[tuple[IO[bytes], bool]] = [(child.stdout, False), (child.stderr, True)]
        for pipe, _ in self.pipes:
            os.set_blocking(pipe.fileno(), False)


class DriverProcesses:
    """`fileno` is readable when `events` has something."""

    def __init__(
        self, scheduler: str, keys_directory: str, directory: Path, remove: Callable[[Path], None]
    ) -> None:
        """Folders are made below `directory`; `remove` takes them away."""
        self._scheduler = scheduler
        self._keys_directory = keys_directory
        self._directory = directory
        self._remove = remove
        self._selector = selectors.EpollSelector()
        self._processes: dict[DriverId, _Process] = {}
        self._failed: list[DriverExited] = []

    def fileno(self) -> int:
        return self._selector.fileno()

    def run(self, driver: DriverId, spec: ProgramSpec) -> None:
        folder = self._directory / f"driver-{driver.program}-{driver.number}"
        try:
            folder.mkdir(mode=0o700)
            (folder / ARCHIVE).write_bytes(spec.archive)
            process = _Process(self._start(driver, spec, folder), folder)
        except OSError as error:
            self._remove(folder)
            self._failed.append(DriverExited(driver, 1, f"could not be started ({error})"))
            return
        self._processes[driver] = process
        self._selector.register(process.handle, selectors.EVENT_READ, driver)
        self.read(driver)

    def read(self, driver: DriverId) -> None:
        """The next piece that it prints will be an event."""
        process = self._processes.get(driver)
        for pipe, _ in process.pipes if process is not None else ():
            with contextlib.suppress(KeyError):  # nothing has come from this one yet
                self._selector.register(pipe, selectors.EVENT_READ, driver)

    def kill(self, driver: DriverId) -> None:
        """With all that it started; the event that says so follows."""
        process = self._processes.get(driver)
        if process is not None:
            os.killpg(process.child.pid, signal.SIGKILL)

    def events(self) -> list[DriverEvent]:
        """What has happened since the last call."""
        happened: list[DriverEvent] = [*self._failed]
        self._failed.clear()
        for key, _ in self._selector.select(0):
            process = self._processes.get(key.data)
            if process is None:
                continue
            if key.fileobj == process.handle:
                happened += self._ended(key.data, process)
            else:
                happened += self._printed(key.data, process)
        return happened

    def close(self) -> None:
        """Kill all drivers; nothing of them runs when this returns."""
        for driver, process in list(self._processes.items()):
            self.kill(driver)
            self._bury(driver, process)
        self._selector.close()

    def _start(self, driver: DriverId, spec: ProgramSpec, folder: Path) -> subprocess.Popen[bytes]:
        python = [sys.executable, *(["-P"] if sys.flags.safe_path else []), "-m"]
        settings = [word for item in spec.conf.items() for word in ("--conf", "=".join(item))]
        keys = ["--keys", self._keys_directory] if self._keys_directory else []
        submit = ["flowgrid.cli.main", "submit", "--master", self._scheduler, "--name", spec.name]
        command = [*python, *submit, *settings, *keys, "--", spec.entry, *spec.arguments]
        return subprocess.Popen(
            [*python, "flowgrid_executor.driver_main", str(os.getpid()), *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**os.environ, "FLOWGRID_DRIVER": f"{driver}", "PYTHONUNBUFFERED": "1"},
        )

    def _printed(self, driver: DriverId, process: _Process) -> Iterator[DriverSpoke]:
        """One piece; from then on nothing is read before `read`."""
        for pipe, error in list(process.pipes):
            data = self._read_from(process, pipe, error)
            if data:
                for other, _ in process.pipes:
                    with contextlib.suppress(KeyError):
                        self._selector.unregister(other)
                yield DriverSpoke(driver, data, error)
                return

    def _read_from(self, process: _Process, pipe: IO[bytes], error: bool) -> bytes:
        """What is there, up to a piece; a pipe at its end is closed."""
        try:
            data = os.read(pipe.fileno(), _PIECE_BYTES)
        except BlockingIOError:
            return b""
        if not data:
            with contextlib.suppress(KeyError):
                self._selector.unregister(pipe)
            process.pipes.remove((pipe, error))
            pipe.close()
        return data

    def _ended(self, driver: DriverId, process: _Process) -> list[DriverEvent]:
        """What it started is killed, and then the pipes hold all that will ever be in there."""
        os.killpg(process.child.pid, signal.SIGKILL)
        last: list[DriverEvent] = []
        for pipe, error in list(process.pipes):
            while data := self._read_from(process, pipe, error):
                last.append(DriverSpoke(driver, data, error))
        return [*last, DriverExited(driver, self._bury(driver, process))]

    def _bury(self, driver: DriverId, process: _Process) -> int:
        """The exit code of a process that has ended, or was killed."""
        del self._processes[driver]
        self._selector.unregister(process.handle)
        os.close(process.handle)
        for pipe, _ in process.pipes:
            with contextlib.suppress(KeyError):
                self._selector.unregister(pipe)
            pipe.close()
        exit_code = process.child.wait()
        self._remove(process.folder)
        return exit_code
