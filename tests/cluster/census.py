"""What is there that should not be: processes, files, shared memory and open doors.

Everything that a driver starts inherits its environment, so a mark in there finds it again, whoever
its parent is by now. Files go below a temporary folder that only this driver was given.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
import shutil
import struct
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import psutil
import pytest

from tests.cluster.deadlines import eventually

MARK = "FLOWGRID_TEST_MARK"

_TEMPORARY = tempfile.gettempdir()
"""Kept from before anybody moves in. Pytest's folders have names too long for the paths of sockets."""

_LISTENING = "0A"


def _shared_memory() -> frozenset[str]:
    return frozenset(name for name in os.listdir("/dev/shm") if "flowgrid" in name)


def paths_below(folder: Path) -> Iterator[Path]:
    """The files and folders that are there, while others remove some of them."""
    for here, folders, files in os.walk(
        folder
    ):  # pathlib's glob fails where a folder has just gone
        yield from (Path(here, name) for name in (*folders, *files))


@dataclass(frozen=True)
class Premises:
    """Where one driver lives: its mark, and the only folder for its temporary files."""

    folder: Path
    mark: str = field(default_factory=lambda: uuid4().hex)
    shared_memory_before: frozenset[str] = field(default_factory=_shared_memory)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def environment(self) -> dict[str, str]:
        """For a child of this process: marked, with its own temporary folder and our imports."""
        imports = os.pathsep.join(path for path in sys.path if path)
        here = {MARK: self.mark, "TMPDIR": str(self.folder), "PYTHONPATH": imports}
        return {**os.environ, **here}

    def processes(self) -> list[psutil.Process]:
        """Every living process that carries the mark."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def running(self, module: str) -> list[psutil.Process]:
        """Those that run ``python -m <module>``, oldest first."""
        found = [p for p in self.processes() if module in command_line(p)]
        return sorted(found, key=lambda process: (process.create_time(), process.pid))

    def require_empty(self, within_s: float = 10.0) -> None:
        """Fail unless processes, files and shared memory are all gone soon."""
        eventually("no process is left", lambda: not self.processes(), within_s, self._processes)
        eventually("no file is left", lambda: not self._files(), within_s, self._files)
        eventually(
            "no shared memory is left",
            lambda: _shared_memory() <= self.shared_memory_before,
            within_s,
            _shared_memory,
        )

    def _owns(self, process: psutil.Process) -> bool:
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            return bool(alive and process.environ().get(MARK) == self.mark)
        except (psutil.Error, OSError):
            return False

    def _processes(self) -> list[str]:
        return [f"{p.pid}: {' '.join(command_line(p))}" for p in self.processes()]

    def _files(self) -> list[str]:
        return [str(path.relative_to(self.folder)) for path in paths_below(self.folder)]


@contextlib.contextmanager
def moved_in() -> Iterator[Premises]:
    """Let this process be a driver with a mark and a temporary folder of its own; empty at the end."""
    folder = Path(tempfile.mkdtemp(prefix="fgtest-", dir=_TEMPORARY))
    premises = Premises(folder / "tmp")
    try:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in premises.environment().items():
                patch.setenv(name, value)
            patch.setattr(tempfile, "tempdir", str(premises.folder))
            yield premises
        premises.require_empty()
    finally:
        for process in premises.processes():
            process.kill()
        shutil.rmtree(folder)


def command_line(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def listening_addresses(processes: Iterable[psutil.Process]) -> set[str]:
    """The addresses on which these processes accept TCP connections."""
    inodes = {inode for process in processes for inode in _socket_inodes(process.pid)}
    return {address for address, inode in _listeners() if inode in inodes}


def _socket_inodes(pid: int) -> Iterator[str]:
    folder = f"/proc/{pid}/fd"
    try:
        for descriptor in os.listdir(folder):
            target = os.readlink(f"{folder}/{descriptor}")
            if target.startswith("socket:["):
                yield target[len("socket:[") : -1]
    except OSError:  # the process, or the descriptor, has just gone
        return


def _listeners() -> Iterator[tuple[str, str]]:
    """(address, inode) of every listening TCP socket of this machine."""
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if not os.path.exists(table):
            continue
        for line in Path(table).read_text(encoding="ascii").splitlines()[1:]:
            columns = line.split()
            if columns[3] == _LISTENING:
                yield _address(columns[1].partition(":")[0]), columns[9]


def _address(hexadecimal: str) -> str:
    """An address as people write it: /proc holds it in 32-bit words of the machine's byte order."""
    words = [int(hexadecimal[i : i + 8], 16) for i in range(0, len(hexadecimal), 8)]
    packed = struct.pack(f"={len(words)}I", *words)
    return str(ipaddress.ip_address(packed))
