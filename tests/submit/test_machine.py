"""Limits of cgroups, in a tree of files that looks like the system's."""

from __future__ import annotations

import os
from pathlib import Path

from flowgrid.config import MIB
from flowgrid.submit.machine import cores, memory_bytes

PHYSICAL_BYTES = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_the_tightest_cgroup_above_us_holds(tmp_path: Path) -> None:
    write(tmp_path / "proc/self/cgroup", "0::/batch/job\n")
    write(tmp_path / "sys/fs/cgroup/batch/job/memory.max", "max\n")
    write(tmp_path / "sys/fs/cgroup/batch/memory.max", f"{64 * MIB}\n")

    assert memory_bytes(tmp_path) == 64 * MIB


def test_the_first_version_of_cgroups_counts_too(tmp_path: Path) -> None:
    write(tmp_path / "sys/fs/cgroup/memory/memory.limit_in_bytes", f"{32 * MIB}\n")

    assert memory_bytes(tmp_path) == 32 * MIB


def test_without_limits_the_machine_is_ours(tmp_path: Path) -> None:
    assert memory_bytes(tmp_path) == PHYSICAL_BYTES
    assert 1 <= cores() <= len(os.sched_getaffinity(0))
