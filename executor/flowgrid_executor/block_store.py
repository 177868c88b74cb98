"""The block files this executor holds: its directories, how full they are, and what may go.

Files are written by slots and served to readers; here they are counted and deleted. A deleted name is
gone when a method returns; the bytes behind it are freed by a thread, because that takes a file system
its time and heartbeats must not wait for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from flowgrid.errors import ConfigError
from flowgrid.ids import AttemptId, JobId
from flowgrid.protocol.blocks import file_name, find_file

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_DOOMED = "doomed"


class _Directory:
    """One of ours, with a place for what is to be deleted: a rename does not leave its file system."""

    def __init__(self, path: Path, parents: bool) -> None:
        self.path = path
        try:
            path.mkdir(mode=0o700, parents=parents, exist_ok=True)
            path.chmod(0o700)
            empty = not any(path.iterdir())
        except OSError as error:
            raise ConfigError(f"blocks cannot be kept in {path}: {error.strerror}") from None
        if not empty:
            raise ConfigError(f"{path} is not empty; blocks need a directory of their own")
        # Held as long as we live: `flowgrid clean` takes what can be locked.
        self._lock_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(OSError):  # a file system without locks: nobody will take it
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._doomed = path / _DOOMED
        self._doomed.mkdir()
        self._doomed_count = 0

    def entries(self) -> list[Path]:
        with contextlib.suppress(OSError):  # a bad disk
            return [entry for entry in self.path.iterdir() if entry != self._doomed]
        return []

    def doom(self, path: Path) -> Path | None:
        """Take its name away, and return another; None if there is nothing, or the disk is bad."""
        self._doomed_count += 1
        doomed = self._doomed / str(self._doomed_count)
        with contextlib.suppress(OSError):
            path.rename(doomed)
            return doomed
        return None

    def room(self) -> float:
        """How much of the file system is free, from 0 to 1."""
        with contextlib.suppress(OSError):
            found = os.statvfs(self.path)
            return found.f_bavail / max(found.f_blocks, 1)
        return 0.0

    def close(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._lock_fd)


class BlockStore:
    """Owns `directories`: made here, for this user only, and removed with all in them by `close`."""

    def __init__(self, *directories: Path, parents: bool = True) -> None:
        """`parents`: make also what is missing on the way there. Raises `ConfigError` for a directory
        that cannot be made or holds somebody's files."""
        self._paths = [str(path) for path in directories]
        self._bytes: dict[int, dict[AttemptId, int]] = {}
        self._sweeper: ThreadPoolExecutor | None = None
        self._directories: list[_Directory] = []
        try:
            for path in directories:
                self._directories.append(_Directory(path, parents))
        except ConfigError:
            self.close()
            raise

    @property
    def bytes_held(self) -> int:
        return sum(sum(attempts.values()) for attempts in self._bytes.values())

    def job_bytes(self, job: JobId) -> int:
        return sum(self._bytes.get(job.number, {}).values())

    def room(self) -> tuple[float, ...]:
        """How much of each directory's file system is free, from 0 to 1; a bad one has none."""
        return tuple(directory.room() for directory in self._directories)

    def keep(self, attempt: AttemptId) -> None:
        """Count the file of an attempt that succeeded; one that wrote to a sink has none."""
        try:  # a path as text: this is done for every attempt, and `Path` takes ten times the call
            size = os.stat(find_file(self._paths, attempt)).st_size
        except OSError:
            return
        self._bytes.setdefault(attempt.job, {})[attempt] = size

    def holds(self, attempt: AttemptId) -> bool:
        """Whether the file of an attempt that succeeded is there, as long as it was."""
        known = self._bytes.get(attempt.job, {}).get(attempt)
        with contextlib.suppress(OSError):
            return os.stat(find_file(self._paths, attempt)).st_size == known
        return False

    def drop(self, attempt: AttemptId) -> None:
        """Delete what an attempt wrote, under its final name and under names with a suffix."""
        self._bytes.get(attempt.job, {}).pop(attempt, None)
        name = file_name(attempt)
        self.clear(name)
        for directory in self._directories:
            path = directory.path / name
            with contextlib.suppress(OSError):
                for leftover in path.parent.glob(f"{path.name}.*"):
                    self._doom(directory, leftover)

    def drop_job(self, job: JobId) -> None:
        self._bytes.pop(job.number, None)
        self.clear(os.path.dirname(file_name(AttemptId(job.number, 0, 0, 0))))

    def drop_all(self) -> None:
        self._bytes.clear()
        for directory in self._directories:
            for entry in directory.entries():
                self._doom(directory, entry)

    def clear(self, name: str) -> None:
        """Delete this file or folder in every directory: a job's, or what a slot spilled."""
        for directory in self._directories:
            self._doom(directory, directory.path / name)

    def close(self) -> None:
        """Remove the directories, the home last: it is the sign that we have ended. Whoever still writes
        there must have ended before."""
        if self._sweeper is not None:
            self._sweeper.shutdown(wait=True, cancel_futures=True)
        for directory in reversed(self._directories):
            directory.close()

    def _doom(self, directory: _Directory, path: Path) -> None:
        doomed = directory.doom(path)
        if doomed is None:
            return
        if self._sweeper is None:
            # With logging 8 ms, which the first task does not wait for.
            from concurrent.futures import ThreadPoolExecutor

            self._sweeper = ThreadPoolExecutor(1, "sweeper")
        self._sweeper.submit(_delete, doomed)


def _delete(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
