"""A job's failure as the exception that a user sees: what, where, and what to do next."""

from __future__ import annotations

from typing import NoReturn

from flowgrid.errors import (
    FlowGridError,
    InputError,
    JobCancelledError,
    JobError,
    NoExecutorsError,
    OutOfMemoryError,
    UserCodeError,
)
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.messages import JobFailed

_NEXT = {
    FailureKind.PROCESS_DIED: "the process of a task ended without a word; look for a crash in "
    "native code, or for the system's out-of-memory killer",
    FailureKind.POISON: "this task brings down whatever process runs it",
    FailureKind.OUT_OF_MEMORY: "give executors more memory (executor.memory or `--executor-memory` "
    "under local, the M of local-cluster[E,S,M], `flowgrid executor --memory`), or raise "
    "planner.partitions so that each task holds less",
    FailureKind.DISK_FULL: "free space there, or set executor.local_dir to a larger disk",
    FailureKind.DISK_BAD: "set executor.local_dir to a disk that works",
    FailureKind.NO_EXECUTORS: "start executors (`flowgrid executor --scheduler …`); "
    "scheduler.no_executors_grace_s says how long jobs wait for one",
    FailureKind.INPUT_CHANGED: "read the input anew, and do not change it while a job runs",
    FailureKind.INDETERMINATE: "make the function deterministic: the same rows in must give the "
    "same rows out",
    FailureKind.INTERNAL: "this is a bug in FlowGrid; please report it",
}


def raise_failure(failed: JobFailed) -> NoReturn:
    """Raise what `failed` means: a `JobError`, or an `InputError` for input that cannot be read."""
    raise _error(failed)


def _error(failed: JobFailed) -> FlowGridError:
    failure = failed.failure
    kind = failure.kind
    where = f"{failed.job}" + (f", {failed.where}" if failed.where else "")
    message = f"{failure.message} (in {where})"
    if kind in _NEXT:
        message += f"; {_NEXT[kind]}"
    match kind:
        case FailureKind.INPUT_MISSING | FailureKind.INPUT_CHANGED | FailureKind.INPUT_INVALID:
            return InputError(message)
        case FailureKind.USER_ERROR:
            return UserCodeError(_with_traceback(message, failure), kind, failure.traceback)
        case FailureKind.OUT_OF_MEMORY:
            return OutOfMemoryError(_with_traceback(message, failure), kind, failure.traceback)
        case FailureKind.NO_EXECUTORS:
            return NoExecutorsError(message, kind)
        case FailureKind.CANCELLED | FailureKind.DRIVER_LOST:
            return JobCancelledError(message, kind)
        case _:
            return JobError(message, kind, failure.traceback)


def _with_traceback(message: str, failure: Failure) -> str:
    """With the user's own lines, where these are what failed."""
    return f"{message}\n\n{failure.traceback.rstrip()}" if failure.traceback else message
