"""Whose staging place is this, and does its job still live?

The owner holds a lock on a file in its staging place for as long as its job runs; the system lets go of
the lock when the process ends, however it ends. Only on the machine (and since the start) that made it
does the lock mean anything: of other places nothing is known.
"""

from __future__ import annotations

import contextlib
import enum
import fcntl
import os
import time
from pathlib import Path

import msgspec

OWNER_FILE = "owner.json"


class Owner(msgspec.Struct, frozen=True):
    """`machine` is one start of one machine, `began_at` in seconds of the wall clock. `made` are the
    folders on the way to the output that were not there before, the outermost first."""

    machine: str
    process: int
    began_at: float
    made: tuple[str, ...] = ()


class Life(enum.StrEnum):
    """What is known of an owner."""

    ALIVE = "alive"
    GONE = "gone"
    UNKNOWN = "unknown"


def machine() -> str:
    """This start of this machine; "" where the system does not say."""
    with contextlib.suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ""


class Claim:
    """A local staging place that is ours until `release`, or until this process ends."""

    def __init__(self, folder: str, made: tuple[str, ...]) -> None:
        """Makes the folder. Raises OSError where it cannot be made."""
        os.makedirs(folder, exist_ok=True)
        owner = Owner(machine(), os.getpid(), time.time(), made)
        self._descriptor = os.open(os.path.join(folder, OWNER_FILE), os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:  # a file system without locks: nobody will know more than our age
            owner = msgspec.structs.replace(owner, machine="")
        os.write(self._descriptor, msgspec.json.encode(owner))

    def release(self) -> None:
        """Called again it does nothing."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def owner_of(folder: str) -> Owner | None:
    """Who made a local staging place; None if it does not say."""
    try:
        return msgspec.json.decode(Path(folder, OWNER_FILE).read_bytes(), type=Owner)
    except (OSError, msgspec.DecodeError):
        return None


def life_of(folder: str) -> Life:
    """Whether the job of a local staging place still lives."""
    owner = owner_of(folder)
    if owner is None or not owner.machine or owner.machine != machine():
        return Life.UNKNOWN
    try:
        descriptor = os.open(os.path.join(folder, OWNER_FILE), os.O_RDONLY)
    except OSError:
        return Life.UNKNOWN
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return Life.ALIVE
    except OSError:
        return Life.UNKNOWN
    finally:
        os.close(descriptor)
    return Life.GONE
