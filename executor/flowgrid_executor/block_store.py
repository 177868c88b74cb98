"""The block files this executor holds: its directory, how full it is, and what may go.

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
from flowgrid.protocol.blocks import file_name

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

_DOOMED = "doomed"


class BlockStore:
    """Owns `directory`: made here, for this user only, and removed with everything in it by `close`."""

    def __init__(self, directory: Path, parents: bool = True) -> None:
        """`parents`: make also what is missing on the way there. Raises `ConfigError` for a directory
        that cannot be made or holds somebody's files."""
        self.directory = directory
        try:
            directory.mkdir(mode=0o700, parents=parents, exist_ok=True)
            directory.chmod(0o700)
            empty = not any(directory.iterdir())
        except OSError as error:
            raise ConfigError(f"blocks cannot be kept in {directory}: {error.strerror}") from None
        if not empty:
            raise ConfigError(f"{directory} is not empty; blocks need a directory of their own")
        # Held as long as we live: `flowgrid clean` takes what can be locked.
        self._lock_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        with contextlib.suppress(OSError):  # a file system without locks: nobody will take it
            fcntl.flock(self._lock_fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        self._doomed = directory / _DOOMED
        self._doomed.mkdir()
        self._doomed_count = 0
        self._bytes: dict[int, dict[AttemptId, int]] = {}
        self._sweeper: ThreadPoolExecutor | None = None

    @property
    def bytes_held(self) -> int:
        return sum(sum(attempts.values()) for attempts in self._bytes.values())

    def job_bytes(self, job: JobId) -> int:
        return sum(self._bytes.get(job.number, {}).values())

    def keep(self, attempt: AttemptId) -> None:
        """Count the file of an attempt that succeeded; one that wrote to a sink has none."""
        try:  # a path as text: this is done for every attempt, and `Path` takes ten times the call
            size = os.stat(f"{self.directory}/{file_name(attempt)}").st_size
        except FileNotFoundError:
            return
        self._bytes.setdefault(attempt.job, {})[attempt] = size

    def holds(self, attempt: AttemptId) -> bool:
        """Whether the file of an attempt that succeeded is there, as long as it was."""
        known = self._bytes.get(attempt.job, {}).get(attempt)
        with contextlib.suppress(FileNotFoundError):
            return (self.directory / file_name(attempt)).stat().st_size == known
        return False

    def drop(self, attempt: AttemptId) -> None:
        """Delete what an attempt wrote, under its final name and under names with a suffix."""
        self._bytes.get(attempt.job, {}).pop(attempt, None)
        path = self.directory / file_name(attempt)
        self._doom(path)
        with contextlib.suppress(FileNotFoundError):
            for leftover in path.parent.glob(f"{path.name}.*"):
                self._doom(leftover)

    def drop_job(self, job: JobId) -> None:
        self._bytes.pop(job.number, None)
        self._doom(self.directory / os.path.dirname(file_name(AttemptId(job.number, 0, 0, 0))))

    def drop_all(self) -> None:
        self._bytes.clear()
        for entry in self.directory.iterdir():
            if entry != self._doomed:
                self._doom(entry)

    def clear(self, directory: Path) -> None:
        """Delete a directory below ours that is no job's: what a slot spilled."""
        self._doom(directory)

    def close(self) -> None:
        """Remove the directory. Whoever still writes there must have ended before."""
        if self._sweeper is not None:
            self._sweeper.shutdown(wait=True, cancel_futures=True)
        shutil.rmtree(self.directory, ignore_errors=True)
        os.close(self._lock_fd)

    def _doom(self, path: Path) -> None:
        self._doomed_count += 1
        doomed = self._doomed / str(self._doomed_count)
        try:
            path.rename(doomed)
        except FileNotFoundError:
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
