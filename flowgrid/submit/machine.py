"""What this machine has to give: cores and memory, as the scheduler's cgroup lets us have them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

MEMORY_SHARE = 0.6
"""Of the machine's memory, for executors: the rest is for the driver, the page cache and others."""


def cores() -> int:
    """Processors that this process may use; a cgroup's quota counts in whole cores, at least 1."""
    available = len(os.sched_getaffinity(0))
    for folder in _cgroup_folders():
        quota, _, period = _read(folder / "cpu.max").partition(" ")
        if quota.isdigit() and period.isdigit():
            available = min(available, max(1, round(int(quota) / int(period))))
    return available


def memory_bytes(root: Path = Path("/")) -> int:
    """Physical memory, or less where a cgroup (version 1 or 2) says so."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    files = [folder / "memory.max" for folder in _cgroup_folders(root)]
    files.append(root / "sys/fs/cgroup/memory/memory.limit_in_bytes")
    for file in files:
        if (text := _read(file)).isdigit():
            limits.append(int(text))
    return min(limits)


def executor_memory_bytes() -> int:
    """What the executors of this machine may use together when nobody says."""
    return int(memory_bytes() * MEMORY_SHARE)


def _cgroup_folders(root: Path = Path("/")) -> Iterator[Path]:
    """Our cgroup (version 2) and those above it: the tightest limit holds."""
    top = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        if line.startswith("0::/"):
            folder = top / line.removeprefix("0::/")
            yield folder
            yield from (parent for parent in folder.parents if parent.is_relative_to(top))


def _read(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""
