"""Why an attempt or a job failed: a closed set that crosses every layer without becoming a string.

Each kind has one row in the table of the scheduler's `retries.py` that says what it counts against.
"""

from __future__ import annotations

import enum

import msgspec

from flowgrid.ids import AttemptId, ExecutorId


class FailureKind(enum.StrEnum):
    """Every way in which an attempt or a job can fail."""

    USER_ERROR = "user_error"
    """The user's function raised."""
    QUERY_ERROR = "query_error"
    """The kernel refused the data: a cast that fails, a division, a value out of range."""
    FETCH_FAILED = "fetch_failed"
    """A block could not be read: the producer's problem, not the consumer's."""
    PROCESS_DIED = "process_died"
    """The slot process ended without a word: a signal, `os._exit`, a crash in native code."""
    OUT_OF_MEMORY = "out_of_memory"
    """All the memory of one executor was not enough for this task alone."""
    DISK_FULL = "disk_full"
    DISK_BAD = "disk_bad"
    EXECUTOR_LOST = "executor_lost"
    INPUT_MISSING = "input_missing"
    INPUT_CHANGED = "input_changed"
    """An input file is not the one that was planned: size or modification time differ."""
    INPUT_INVALID = "input_invalid"
    """An input file is not what its format says."""
    ROWS_LOST = "rows_lost"
    """Rows read by a task are not the rows that were written for it."""
    INDETERMINATE = "indeterminate"
    POISON = "poison"
    """One task brought down several slot processes."""
    NO_EXECUTORS = "no_executors"
    CANCELLED = "cancelled"
    DRIVER_LOST = "driver_lost"
    INTERNAL = "internal"


class FetchCause(enum.StrEnum):
    """What a reader saw when it could not get a block."""

    MISSING = "missing"
    CORRUPT = "corrupt"
    UNREACHABLE = "unreachable"
    TIMEOUT = "timeout"


class FetchFailure(msgspec.Struct, frozen=True, array_like=True):
    """Which block could not be read: the attempt that wrote it, who held it, and what was seen."""

    producer: AttemptId
    holder: ExecutorId
    cause: FetchCause


class Failure(msgspec.Struct, frozen=True):
    """A failure as a value. `message` is one sentence; `traceback` is the user's, as text."""

    kind: FailureKind
    message: str
    traceback: str = ""
    fetch: FetchFailure | None = None
