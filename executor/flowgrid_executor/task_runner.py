"""One attempt inside a slot process: read inputs, run the fragment as a stream, write the output.

Whatever goes wrong leaves as a typed `AttemptError`: a closed set of reasons, told apart here.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import time
import traceback

import duckdb
import msgspec

from flowgrid.io.stage_reader import StageReadError
from flowgrid.protocol import codec
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.fragment import (
    TaskInputs,
)
from flowgrid.protocol.reports import AttemptReport
from flowgrid_executor.fragment_run import FragmentRun, LocalDirectoryError, input_paths
from flowgrid_executor.kernels.duckdb_kernel import (
    DuckDbKernel,
    kernel_failure,
)
from flowgrid_executor.kernels.kernel import Guard, KernelError
from flowgrid_executor.slot_protocol import AttemptError, RunAttempt

_kernel = DuckDbKernel()


def warm_up() -> None:
    """Called in a slot before its first attempt: what importing this module must not do.

    Slots are forked when it is imported, and neither threads nor a DuckDB instance survive a fork.
    """
    with contextlib.suppress(duckdb.Error):  # the first attempt will try again, and can say why
        _kernel.open()


def run_attempt(request: RunAttempt) -> AttemptReport:
    """Run one attempt and say what it read and wrote. Raises `AttemptError`, and nothing else."""
    guard = Guard()
    started, cpu_started = time.monotonic(), time.process_time()
    inputs = TaskInputs()
    try:
        fragment = codec.fragments.decode(request.payload)
        if request.task:
            inputs = codec.task_inputs.decode(request.task)
        _kernel.begin(
            request.threads,
            request.kernel_bytes,
            request.spill_directory,
            seed=fragment.seed * 1_000_003 + request.attempt.partition,
            joins_as_written=fragment.joins_as_written,
        )
        with contextlib.closing(
            FragmentRun(request, fragment, inputs, _kernel, guard)
        ) as fragment_run:
            report = fragment_run.run()
    except Exception as error:
        failure = _failure(guard.raised or error, inputs, request.spill_directory)
        raise AttemptError(failure, _directory_at_fault(failure, request)) from error
    finally:
        _kernel.end()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return msgspec.structs.replace(
        report,
        run_s=time.monotonic() - started,
        cpu_s=time.process_time() - cpu_started,
        memory_bytes_max=usage.ru_maxrss * 1024,
    )


# -- why it failed ---------------------------------------------------------------------------------

_DISK_ERRORS = {
    errno.ENOSPC: FailureKind.DISK_FULL,
    errno.EDQUOT: FailureKind.DISK_FULL,
    errno.EIO: FailureKind.DISK_BAD,
    errno.EROFS: FailureKind.DISK_BAD,
}

_OWN_DISK_ERRORS = _DISK_ERRORS | dict.fromkeys(
    (
        *(errno.ENOENT, errno.ENOTDIR, errno.EACCES, errno.EPERM),
        *(errno.ENODEV, errno.ENXIO, errno.ESTALE, errno.EUCLEAN),
    ),
    FailureKind.DISK_BAD,
)
"""In a directory that we have made ourselves."""


def _directory_at_fault(failure: Failure, request: RunAttempt) -> str:
    """Which local directory is full or bad; "" if it is another's place that is."""
    disk = failure.kind in (FailureKind.DISK_FULL, FailureKind.DISK_BAD)
    spilling = disk or failure.kind is FailureKind.OUT_OF_MEMORY
    if spilling and request.spill_directory in failure.message:
        return os.path.dirname(request.spill_directory)
    return request.directory if disk and request.directory in failure.message else ""


def _failure(error: Exception, inputs: TaskInputs, spill_directory: str = "") -> Failure:
    match error:
        case AttemptError():
            return error.failure
        case StageReadError():
            return Failure(FailureKind.FETCH_FAILED, str(error), fetch=error.failure)
        case KernelError() | duckdb.Error():
            failure = kernel_failure(str(error), spill_directory)
            named = any(path in failure.message for path in input_paths(inputs.splits))
            if named and failure.kind is FailureKind.QUERY_ERROR:
                return Failure(FailureKind.INPUT_INVALID, failure.message)
            return failure
        case LocalDirectoryError(errno=number) if number in _OWN_DISK_ERRORS:
            return Failure(_OWN_DISK_ERRORS[number], str(error))
        case OSError(errno=number) if number in _DISK_ERRORS:
            return Failure(_DISK_ERRORS[number], str(error))
        case MemoryError():
            return Failure(FailureKind.OUT_OF_MEMORY, str(error) or "out of memory in Python")
    return Failure(FailureKind.INTERNAL, f"{type(error).__name__}: {error}", traceback.format_exc())
