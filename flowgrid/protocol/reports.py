"""What attempts say of themselves, and executors of the attempts they have."""

from __future__ import annotations

import msgspec

from flowgrid.ids import AttemptId


class WrittenFile(msgspec.Struct, frozen=True, array_like=True):
    """A file that a sink attempt wrote, relative to its own staging folder."""

    path: str
    rows: int
    bytes: int


class AttemptReport(msgspec.Struct, frozen=True):
    """What a succeeded attempt read and wrote.

    `rows_read[i]` belongs to input i of the stage. `rows` and `bytes` have one entry per target
    partition. `digest` is one number for which rows each of them got, in whatever order, so two
    attempts of one task can be compared. `files` is what a sink wrote.
    """

    rows_read: tuple[int, ...]
    rows: tuple[int, ...] = ()
    bytes: tuple[int, ...] = ()
    digest: int = 0
    files: tuple[WrittenFile, ...] = ()
    run_s: float = 0.0
    cpu_s: float = 0.0
    memory_bytes_max: int = 0


class HeldAttempt(msgspec.Struct, frozen=True, array_like=True):
    """An attempt that an executor answers a roll call with: it runs (`report` is None), or its blocks
    are there. `reads[i]` are the attempts that it was told to read of input i, within its slice."""

    attempt: AttemptId
    reads: tuple[tuple[int, ...], ...]
    report: AttemptReport | None = None
