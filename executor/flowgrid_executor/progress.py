"""How far an attempt is: a page that its slot writes and its supervisor reads.

A slot cannot be asked: it computes, or it waits. So it notes in memory that both map what it waits for
and since when; that costs a microsecond per batch. A page that is read while it is written may mix two
notes. It is for people who wonder, and nothing is decided by it.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
from pathlib import Path

from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.protocol.waits import AttemptProgress

_NAME_BYTES = 64
_NOTE = struct.Struct(f"<4q4q?ddq{_NAME_BYTES}s")
"""Attempt, the attempt it waits for, whether it does, its patience, since when, bytes read, holder."""

_NOBODY = AttemptId(0, 0, 0, 0)


class ProgressPage:
    """The page of one attempt, in its slot: a `flowgrid.io.stage_reader.ReadWatch`."""

    def __init__(self, path: Path, attempt: AttemptId) -> None:
        """Raises OSError where no file can be written."""
        self._attempt = attempt
        self._read_bytes = 0
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            os.truncate(descriptor, _NOTE.size)
            self._page = mmap.mmap(descriptor, _NOTE.size)
        finally:
            os.close(descriptor)
        self._note(None)

    def waits(self, producer: AttemptId, holder: ExecutorId, patience_s: float) -> None:
        """From now on it waits for blocks."""
        self._note(producer, holder.name, patience_s)

    def came(self, size: int) -> None:
        """So many bytes came, and it computes."""
        self._read_bytes += size
        self._note(None)

    def close(self) -> None:
        self._page.close()

    def _note(self, producer: AttemptId | None, holder: str = "", patience_s: float = 0.0) -> None:
        _NOTE.pack_into(
            self._page,
            0,
            *_numbers(self._attempt),
            *_numbers(producer or _NOBODY),
            producer is not None,
            patience_s,
            time.monotonic(),
            self._read_bytes,
            holder.encode()[:_NAME_BYTES],
        )


def read_progress(path: Path, attempt: AttemptId, run_s: float, now: float) -> AttemptProgress:
    """What the page says of an attempt; only that it runs if there is no page of it (yet)."""
    try:
        numbers = _NOTE.unpack(path.read_bytes())
    except (OSError, struct.error):
        return AttemptProgress(attempt, run_s, idle_s=run_s)
    if AttemptId(*numbers[:4]) != attempt:
        return AttemptProgress(attempt, run_s, idle_s=run_s)
    waiting, patience_s, since, read_bytes, holder = numbers[8:]
    return AttemptProgress(
        attempt,
        run_s,
        read_bytes,
        max(0.0, now - since),
        AttemptId(*numbers[4:8]) if waiting else None,
        holder.rstrip(b"\0").decode(errors="replace"),
        patience_s,
    )


def _numbers(attempt: AttemptId) -> tuple[int, int, int, int]:
    return attempt.job, attempt.stage, attempt.partition, attempt.number
