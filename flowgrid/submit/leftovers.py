"""What killed clusters and executors leave in the folder for temporary files, and who may remove it.

Whoever lives holds a lock: a driver on a file in the directory of its cluster and in that of its tables,
an executor on its directory itself. What is ours by name and by owner and can be locked belonged to
somebody dead.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path

from flowgrid.orphaned import LOCK, other_disks

PREFIX = "flowgrid-"

_YOUNG_S = 60.0
"""A directory without a driver's lock may be one that its executor is about to lock."""


def make_locked(directory: Path) -> tuple[Path, int]:
    """A fresh directory that only we can enter, and the open lock that says we live."""
    directory.mkdir(mode=0o700)
    # Under its final name the lock is held from the first moment: an unlocked one is stale.
    fd = os.open(directory / f"{LOCK}.new", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    fcntl.flock(fd, fcntl.LOCK_EX)
    os.rename(directory / f"{LOCK}.new", directory / LOCK)
    return directory, fd


def remove_stale(parent: Path, dry_run: bool = False) -> list[Path]:
    """Remove what is below `parent` and belonged to the dead; returns what that is."""
    removed = []
    with contextlib.suppress(OSError):
        for directory in sorted(parent.glob(f"{PREFIX}*")):
            with _held_if_stale(directory) as stale:
                if stale:
                    removed.append(directory)
                if stale and not dry_run:
                    remove(directory)
    return removed


def remove(directory: Path) -> None:
    """With its like on other disks."""
    import shutil  # a start does not need it, and it costs 13 ms

    for one in (*other_disks(directory, directory.name), directory):
        shutil.rmtree(one, ignore_errors=True)


@contextlib.contextmanager
def _held_if_stale(directory: Path) -> Iterator[bool]:
    """Whether a directory is stale; nobody else can come to the same conclusion meanwhile."""
    descriptor = _open_lock(directory)
    if descriptor is None:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:  # somebody lives, or this file system cannot say
        yield False
    else:
        yield True
    finally:
        os.close(descriptor)


def _open_lock(directory: Path) -> int | None:
    """What a living owner of this directory would have locked; None if it is none of ours."""
    try:
        facts = directory.lstat()
        # Not a link, and ours: anybody may put something of this name into /tmp.
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
            return None
        with contextlib.suppress(FileNotFoundError):
            return os.open(directory / LOCK, os.O_RDWR | os.O_NOFOLLOW)
        if time.time() - facts.st_mtime < _YOUNG_S:
            return None
        return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
