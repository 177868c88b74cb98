"""The job log as one SQLite database in the scheduler's state directory.

A turn of the scheduler is one transaction, appended to the write-ahead log. With ``synchronous=NORMAL``
a commit hands its bytes to the operating system and does not wait for the disk: what kills the process
loses nothing. A machine that loses its power may lose the last transactions, never half of one; its
executors and drivers then know more than the log, and are told so by name. Waiting for the disk would
protect against that, and cost milliseconds per turn for jobs whose blocks are not synced either.

The database is locked while it is open: a scheduler that was only stopped still has it, so that a second
one on the same directory cannot begin.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from flowgrid_scheduler.job_log import Changes, Key, Kind, LogFullError

FILE_NAME = "jobs.sqlite"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS facts (
    job INTEGER, kind INTEGER, number INTEGER, partition INTEGER, body BLOB,
    PRIMARY KEY (job, kind, number, partition)
) WITHOUT ROWID
"""
_FORMAT = 2
"""Raised when records change their meaning: a log of another format is refused, not guessed at."""

_PUT = "INSERT OR REPLACE INTO facts VALUES (?, ?, ?, ?, ?)"
_TAKE_AWAY = "DELETE FROM facts WHERE (job, kind, number, partition) = (?, ?, ?, ?)"
_TAKE_JOB_AWAY = "DELETE FROM facts WHERE job = ?"


class LogUnusableError(Exception):
    """The log cannot be opened: another scheduler has it, or it is no log of ours."""


class SqliteLog:
    """`JobLog` in a file of `directory`. Raises `LogUnusableError`."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / FILE_NAME
        try:
            self._connection = sqlite3.connect(self.path, isolation_level=None, timeout=0)
        except sqlite3.Error as error:
            raise LogUnusableError(f"the job log {self.path} cannot be opened: {error}") from None
        try:
            self._open()
        except sqlite3.Error as error:
            self._connection.close()
            busy = getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_BUSY
            why = "another scheduler uses it; choose another --state-dir" if busy else str(error)
            raise LogUnusableError(f"the job log {self.path} cannot be used: {why}") from None

    def _open(self) -> None:
        run = self._connection.execute
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run("BEGIN IMMEDIATE")  # takes the lock, which stays
        (format_,) = run("PRAGMA user_version").fetchone()
        if format_ not in (0, _FORMAT):
            raise sqlite3.DatabaseError(
                f"its format is {format_}, and this version reads {_FORMAT}"
            )
        run(_SCHEMA)
        run(f"PRAGMA user_version = {_FORMAT}")
        run("COMMIT")

    def read(self) -> Iterator[tuple[Key, bytes]]:
        rows = self._connection.execute("SELECT * FROM facts ORDER BY job, kind, number, partition")
        for job, kind, number, partition, body in rows:
            yield Key(job, Kind(kind), number, partition), body

    def write(self, changes: Changes) -> None:
        run, run_many = self._connection.execute, self._connection.executemany
        run("BEGIN")
        try:
            run_many(_TAKE_JOB_AWAY, [(job,) for job in changes.jobs_gone])
            run_many(_PUT, [(*key, body) for key, body in changes.facts if body is not None])
            run_many(_TAKE_AWAY, [key for key, body in changes.facts if body is None])
            run("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(sqlite3.Error):
                run("ROLLBACK")
            if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
                raise LogFullError(f"no room for the job log {self.path}") from None
            raise

    def discard(self) -> None:
        self.close()
        for leftover in self.path.parent.glob(f"{self.path.name}*"):
            leftover.unlink()

    def close(self) -> None:
        self._connection.close()
