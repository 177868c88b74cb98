"""What a process and all its descendants use: memory, disk and processor, sampled while they run."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import psutil

SAMPLE_INTERVAL_S = 0.05
_SAMPLES_PER_CENSUS = 5
"""Listing a tree's processes reads all of /proc, which would take a tenth of a core every 50 ms."""

_RESIDENT_KIB = re.compile(r"^Rss(?:Anon|Shmem):\s+(\d+) kB$", re.MULTILINE)
_SHARE_KIB = re.compile(r"^Pss_(?:Anon|Shmem):\s+(\d+) kB$", re.MULTILINE)

_GROWTH = 1.01
"""A process's share of shared pages takes 17 ms per GiB to find out: it is asked for when the resident
pages, which take 0.1 ms and are never fewer, have grown by so much beyond what they were then."""


class TreeWatch:
    """While entered, samples a process tree; `bytes_max` and `disk_bytes_max` are the largest seen.

    Memory is the anonymous and shared-memory pages of all processes, what they share counted once.
    Pages of mapped files are the system's to drop and not counted. With `below`, only processes count
    whose command line has it, and all that these started. Disk is what lies in the folder `scratch`. A
    tree that uses more memory than `memory_bytes_limit` is killed, and `over_limit` says
    so.
    """

    def __init__(
        self,
        pid: int,
        scratch: Path | None = None,
        memory_bytes_limit: int = 0,
        below: str = "",
    ) -> None:
        self.over_limit = False
        self.bytes_max = 0
        self.disk_bytes_max = 0
        self._resident_max = 0
        self._limit = memory_bytes_limit
        self._scratch = scratch
        self._below = below
        self._root = psutil.Process(pid)
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="tree-watch", daemon=True)

    def __enter__(self) -> TreeWatch:
        self._sampler.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._done.set()
        self._sampler.join()

    def reset(self) -> None:
        """Forget the peaks: what comes is measured alone."""
        self.bytes_max = self.disk_bytes_max = self._resident_max = 0

    def cpu_seconds(self) -> float:
        """Used so far by the processes that live and by their children that ended."""
        return sum(_cpu_seconds(process) for process in _tree(self._root))

    def kill(self) -> None:
        for process in reversed(_tree(self._root)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process.pid, signal.SIGKILL)

    def _sample(self) -> None:
        pids: list[int] = []
        rounds = 0
        while not self._done.wait(SAMPLE_INTERVAL_S):
            if rounds % _SAMPLES_PER_CENSUS == 0:
                pids = self._counted()
                if self._scratch is not None:
                    self.disk_bytes_max = max(self.disk_bytes_max, _bytes_below(self._scratch))
            rounds += 1
            self._look_at_memory(pids)
            if self._limit and self.bytes_max > self._limit:
                self.over_limit = True
                self.kill()
                return

    def _counted(self) -> list[int]:
        tree = _tree(self._root)
        if self._below:
            tops = [process for process in tree if self._below in _command_line(process)]
            tree = [process for top in tops for process in _tree(top)]
        return list(dict.fromkeys(process.pid for process in tree))

    def _look_at_memory(self, pids: Sequence[int]) -> None:
        resident = sum(_kib_in(f"/proc/{pid}/status", _RESIDENT_KIB) for pid in pids) << 10
        if resident > self._resident_max * _GROWTH:
            self._resident_max = resident
            shares = sum(_kib_in(f"/proc/{pid}/smaps_rollup", _SHARE_KIB) for pid in pids) << 10
            self.bytes_max = max(self.bytes_max, shares)


def _tree(root: psutil.Process) -> list[psutil.Process]:
    try:
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:  # it has ended
        return ""


def _cpu_seconds(process: psutil.Process) -> float:
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _kib_in(path: str, pattern: re.Pattern[str]) -> int:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError:  # it ended between being listed and being looked at
        return 0
    return sum(map(int, pattern.findall(text)))


def _bytes_below(folder: Path) -> int:
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # it was deleted meanwhile
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
    return total
