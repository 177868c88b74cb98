"""What the slots' processes really use: looked at so often that none outgrows its share in between.

Counted are the private pages of a slot and of what user code has started there: one read of `statm`,
which takes a microsecond. Pages of mapped files are the system's to drop and do not count. Those that a
slot shares with its template do, for each slot: 12 MiB more than there are, to be on the safe side.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from flowgrid.ids import AttemptId
from flowgrid_executor.events import SlotOverran

GROWTH_BYTES_PER_S = 4 << 30
"""Nobody grows faster: each page must be touched. Measured: 2 GiB/s, with huge pages 4."""

LOOK_S_MIN = 0.005
LOOK_S_MAX = 0.1
"""Between two looks: as long as the room that is left would last. User code that starts a process is
found after the longest."""

_EXACT_SHARE_OF_TIME = 0.05
"""A forked child shares its pages, and only the system's own count of shares says how many there are.
That takes 30 ms for 256 MiB, so it is asked for only so often."""

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATM_BYTES = 128
_SHARE_KIB = re.compile(rb"^Pss_Anon:\s+(\d+) kB$", re.MULTILINE)
_OOM_KILLS = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)


@dataclasses.dataclass(slots=True)
class _Slot:
    pid: int
    statm: int
    """Open file: it means this process, even if another one has its number one day."""
    attempt: AttemptId | None = None
    bytes_max: int = 0
    due_at: float = math.inf
    exact_at: float = 0.0


class MemoryWatch:
    """Looks at the slots that run something; `due_at` is when to look next."""

    def __init__(
        self, proc: Path = Path("/proc"), clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._proc = proc
        self._clock = clock
        self._slots: dict[int, _Slot] = {}
        self._oom_kills = self._count_oom_kills()

    @property
    def due_at(self) -> float:
        return min((slot.due_at for slot in self._slots.values()), default=math.inf)

    def open(self, slot: int, pid: int) -> None:
        """A slot's process is there."""
        self.close(slot)
        with contextlib.suppress(OSError):  # it is gone again, and its death is under way
            self._slots[slot] = _Slot(pid, os.open(self._proc / str(pid) / "statm", os.O_RDONLY))

    def close(self, slot: int) -> None:
        if (known := self._slots.pop(slot, None)) is not None:
            os.close(known.statm)

    def close_all(self) -> None:
        for slot in list(self._slots):
            self.close(slot)

    def begin(self, slot: int, attempt: AttemptId, bytes_max: int) -> None:
        if (known := self._slots.get(slot)) is not None:
            known.attempt, known.bytes_max, known.due_at = attempt, bytes_max, 0.0

    def end(self, slot: int) -> int:
        """The slot's attempt has ended; what the slot still holds."""
        known = self._slots.get(slot)
        if known is None:
            return 0
        known.attempt, known.due_at = None, math.inf
        return _private_bytes(known.statm)

    def look(self) -> list[SlotOverran]:
        """Those that use more than they should."""
        found = []
        for number, slot in self._slots.items():
            now = self._clock()
            if slot.attempt is None or now < slot.due_at:
                continue
            used = self._used_bytes(slot, now)
            if used > slot.bytes_max:
                found.append(SlotOverran(number, slot.attempt, used))
                slot.due_at = math.inf
        return found

    def _used_bytes(self, slot: _Slot, now: float) -> int:
        """Also says when to look again."""
        children = self._children(slot.pid)
        private = [_private_bytes(slot.statm), *map(self._child_bytes, children)]
        used = sum(private)
        if used > slot.bytes_max >= max(private):  # together, if they share nothing
            used = max(private)
            if now >= slot.exact_at:
                used = sum(self._exact_bytes(pid) for pid in [slot.pid, *children])
                slot.exact_at = now + (self._clock() - now) / _EXACT_SHARE_OF_TIME
        room_s = (slot.bytes_max - used) / GROWTH_BYTES_PER_S
        slot.due_at = now + min(max(room_s, LOOK_S_MIN), LOOK_S_MAX)
        return used

    def _children(self, pid: int) -> list[int]:
        """All that a process has started, and what these have."""
        found: list[int] = []
        with contextlib.suppress(OSError):
            for task in os.listdir(self._proc / str(pid) / "task"):
                text = (self._proc / str(pid) / "task" / task / "children").read_bytes()
                for child in map(int, text.split()):
                    found += [child, *self._children(child)]
        return found

    def _child_bytes(self, pid: int) -> int:
        try:
            statm = os.open(self._proc / str(pid) / "statm", os.O_RDONLY)
        except OSError:
            return 0
        try:
            return _private_bytes(statm)
        finally:
            os.close(statm)

    def _exact_bytes(self, pid: int) -> int:
        try:
            text = (self._proc / str(pid) / "smaps_rollup").read_bytes()
        except OSError:
            return 0
        return sum(map(int, _SHARE_KIB.findall(text))) << 10

    def oom_killer_struck(self) -> bool:
        """Whether the system has killed a process for memory since the last time we asked."""
        before, self._oom_kills = self._oom_kills, self._count_oom_kills()
        return self._oom_kills > before

    def _count_oom_kills(self) -> int:
        try:
            found = _OOM_KILLS.search((self._proc / "vmstat").read_text())
        except OSError:
            return 0
        return int(found[1]) if found else 0


def _private_bytes(statm: int) -> int:
    """Resident pages that are of no file; 0 when the process is gone."""
    try:
        _, resident, shared, *_ = os.pread(statm, _STATM_BYTES, 0).split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * _PAGE_BYTES
