"""Block files, who serves them, and what a reader sees who opens one."""

from __future__ import annotations

import dataclasses

from flowgrid.ids import AttemptId, JobId
from flowgrid.protocol.failures import FetchCause
from flowgrid.protocol.job_graph import ExecutorAddress
from tests.simulation.rows import Blocks, Lineage, Rows

TIMEOUT_S = 0.5
"""How long a reader waits for somebody who does not answer."""


@dataclasses.dataclass(slots=True)
class BlockFile:
    """What one attempt wrote. `corrupt`: a bit of its rows is not what was written."""

    blocks: Blocks
    lineage: Lineage
    complete: bool = True
    corrupt: bool = False

    def verify(self) -> bool:
        """Whether the checksum of the bytes is right."""
        return not self.corrupt

    def bytes_read(self) -> Blocks:
        """The rows as they are on the disk now."""
        if not self.corrupt:
            return self.blocks
        return tuple(tuple(row ^ 1 for row in rows) for rows in self.blocks)


@dataclasses.dataclass(frozen=True, slots=True)
class StagedFile:
    """What a sink attempt wrote into its own staging folder."""

    rows: Rows
    lineage: Lineage


class ReadError(Exception):
    """A block that could not be read, after `wait_s`."""

    def __init__(self, cause: FetchCause, wait_s: float = 0.0) -> None:
        super().__init__(cause)
        self.cause = cause
        self.wait_s = wait_s


class Disk:
    """The directories of one executor (or driver), and the state of the server in front of them."""

    def __init__(self, host: str, *directories: str) -> None:
        self.host = host
        self.directories = directories
        self.files: dict[AttemptId, BlockFile] = {}
        self.full: set[str] = set()
        self.bad: set[str] = set()
        """Directories that nobody can write to: read-only, so what is there can be read."""
        self.found_bad: set[str] = set()
        """Of which the executor has heard."""
        self.excluded: set[str] = set()
        self.mounted = True
        self.served = True
        """False: its process is gone, and only its own host can still read."""
        self.paused = False

    def drop(self, attempt: AttemptId) -> None:
        self.files.pop(attempt, None)

    def drop_job(self, job: JobId) -> None:
        for attempt in [a for a in self.files if a.job == job.number]:
            del self.files[attempt]


class Disks:
    """All disks by the name of their first directory, and which hosts cannot reach each other."""

    def __init__(self) -> None:
        self.by_directory: dict[str, Disk] = {}
        self.cuts: set[frozenset[str]] = set()

    def open(self, reader_host: str, address: ExecutorAddress, attempt: AttemptId) -> BlockFile:
        """A block file as a reader on that host finds it. Raises `ReadError`."""
        disk = self.by_directory[address.directory]
        if disk.host != reader_host or not disk.mounted:
            self._reach(disk, reader_host)
        file = disk.files.get(attempt)
        if file is None or not file.complete:
            raise ReadError(FetchCause.MISSING)
        if not file.verify():
            raise ReadError(FetchCause.CORRUPT)
        return file

    def _reach(self, disk: Disk, reader_host: str) -> None:
        if not disk.mounted or not disk.served:
            raise ReadError(FetchCause.UNREACHABLE)
        if frozenset((disk.host, reader_host)) in self.cuts:
            raise ReadError(FetchCause.UNREACHABLE, TIMEOUT_S)
        if disk.paused:
            raise ReadError(FetchCause.TIMEOUT, TIMEOUT_S)
