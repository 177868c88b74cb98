"""The memory of a process and all its descendants, sampled while they run."""

from __future__ import annotations

import re
import threading
from pathlib import Path
from types import TracebackType

import psutil

SAMPLE_INTERVAL_S = 0.05

_OWN_KIB = re.compile(r"^Rss(?:Anon|Shmem):\s+(\d+) kB$", re.MULTILINE)


class PeakMemory:
    """While entered, samples a process tree; `bytes_max` is the largest sum seen.

    Counted are anonymous and shared-memory pages of each process. Pages of mapped files are the
    system's to drop and not counted; pages that processes share are counted in each of them, so the
    figure is an upper bound.
    """

    def __init__(self, pid: int) -> None:
        self.bytes_max = 0
        self._root = psutil.Process(pid)
        self._done = threading.Event()
        self._sampler = threading.Thread(target=self._sample, name="peak-memory", daemon=True)

    def __enter__(self) -> PeakMemory:
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

    def _sample(self) -> None:
        while not self._done.wait(SAMPLE_INTERVAL_S):
            self.bytes_max = max(self.bytes_max, _tree_bytes(self._root))


def _tree_bytes(root: psutil.Process) -> int:
    try:
        tree = [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    return sum(_own_bytes(process.pid) for process in tree)


def _own_bytes(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:  # it ended between being listed and being looked at
        return 0
    return sum(int(kib) << 10 for kib in _OWN_KIB.findall(status))
