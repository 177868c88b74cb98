"""Whose staging place is this, does its job still live, and who may publish now?

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
from collections.abc import Iterator
from pathlib import Path

import msgspec

from flowgrid.errors import OutputBusyError

OWNER_FILE = "owner.json"

TURN_TIMEOUT_S = 300.0
"""For one publication: some renames and a sync for each file."""

_LOOK_INTERVAL_S = 0.01


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


@contextlib.contextmanager
def turn(folder: str) -> Iterator[None]:
    """One after the other, of all that take turns at this local folder. The system gives the turn on
    when who has it ends, however it ends. Without effect on a file system without locks.

    Raises `OutputBusyError` after `TURN_TIMEOUT_S`: who has it was stopped, or its disk stands still.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        end = time.monotonic() + TURN_TIMEOUT_S
        while _is_anothers(descriptor):
            if time.monotonic() > end:
                raise OutputBusyError(
                    f"{folder}: another program has been publishing there for {TURN_TIMEOUT_S:.0f} s "
                    "and does not end: end it, and run this one again"
                )
            time.sleep(_LOOK_INTERVAL_S)
        yield
    finally:
        os.close(descriptor)


def _is_anothers(descriptor: int) -> bool:
    """Take the lock of an open folder, if nobody has it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


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
