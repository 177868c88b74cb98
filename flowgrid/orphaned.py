"""The directory of a cluster whose driver has died: whoever of the cluster is left removes it.

A driver that lives holds a lock in there and removes the directory itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path

LOCK = "driver.lock"
_DISK = "disk-"

_EXECUTORS_END_S = 5.0
"""How long executors have to remove their own directories, which are in there."""


def link_disk(directory: Path, number: int, other: Path) -> None:
    """Note in the directory of a cluster that it has another, of the same name, on another disk."""
    (directory / f"{_DISK}{number}").symlink_to(other)


def other_disks(directory: Path, name: str) -> list[Path]:
    """What was noted in there of a cluster of that name."""
    targets = [Path(os.readlink(link)) for link in directory.glob(f"{_DISK}*") if link.is_symlink()]
    return [target for target in targets if target.name == name]


def remove_orphaned(directory: Path) -> None:
    """Remove it if its driver is dead and nobody else is about it; any of the cluster may ask for it."""
    try:
        lock = os.open(directory / LOCK, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:  # it is gone, or no driver's
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return
    else:
        _remove_when_alone(directory)
    finally:
        os.close(lock)


def _remove_when_alone(directory: Path) -> None:
    import shutil  # most ends do not need it, and it costs 13 ms

    deadline = time.monotonic() + _EXECUTORS_END_S
    while time.monotonic() < deadline and any(directory.glob("executor-*/")):
        time.sleep(0.001)
    # Under another name, nobody who is still about to start can put anything into it.
    doomed = directory.with_name(f"{directory.name}.gone")
    with contextlib.suppress(FileNotFoundError):
        directory.rename(doomed)
    for other in other_disks(doomed, directory.name):
        shutil.rmtree(other, ignore_errors=True)
    shutil.rmtree(doomed, ignore_errors=True)
