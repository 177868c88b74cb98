"""The loop inside a slot: one attempt, one answer, until the supervisor hangs up.

Whatever an attempt raises becomes a failure as a value; only the death of the process can end a slot.
"""

from __future__ import annotations

import contextlib
import io
import os
import socket
import sys
import traceback
from collections.abc import Callable
from typing import Any, TypeAlias

from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.reports import AttemptReport
from flowgrid_executor.ceiling import Ceiling
from flowgrid_executor.slot_channel import Channel
from flowgrid_executor.slot_protocol import (
    AttemptBroke,
    AttemptDone,
    AttemptError,
    FromSlot,
    RunAttempt,
)

Runner: TypeAlias = Callable[[RunAttempt], AttemptReport]

_FIRST_TO_GO = "800"
"""Of 1000: when memory runs out, the system kills a slot and not the executor that would report it."""


def run_slot(stream: socket.socket, run_attempt: Runner) -> None:
    """Answer every request on `stream`; returns when the supervisor is gone."""
    _print_to_stderr()
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as score:
        score.write(_FIRST_TO_GO)
    channel = Channel(stream, RunAttempt)
    ceiling = Ceiling()
    while True:
        try:
            request = channel.receive()
            ceiling.rise_to(request.memory_bytes)
            channel.send(answer(request, run_attempt))
        except (EOFError, OSError):
            return


def answer(request: RunAttempt, run_attempt: Runner) -> FromSlot:
    """Run one attempt, whatever it raises."""
    try:
        return AttemptDone(request.attempt, run_attempt(request))
    except AttemptError as error:
        return AttemptBroke(request.attempt, error.failure, error.directory)
    except MemoryError:
        failure = Failure(FailureKind.OUT_OF_MEMORY, f"{request.attempt} ran out of memory")
        return AttemptBroke(request.attempt, failure)
    except BaseException as error:  # SystemExit and KeyboardInterrupt cost an attempt, too
        message = traceback.format_exception_only(error)[-1].strip()
        failure = Failure(FailureKind.INTERNAL, message, traceback.format_exc())
        return AttemptBroke(request.attempt, failure)
    finally:
        sys.stdout.flush()


class _Stderr(io.RawIOBase):
    """The executor's standard error as long as somebody reads it, and nothing after that."""

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return 2

    def write(self, data: Any, /) -> int:
        view = memoryview(data)
        try:
            return os.write(2, view)
        except OSError:  # nobody reads any more; what a user prints must not fail the attempt
            return view.nbytes


def _print_to_stderr() -> None:
    """Standard output belongs to nobody here: all prints go where the executor's errors go."""
    with contextlib.suppress(OSError):
        os.dup2(2, 1)
    console = io.TextIOWrapper(
        io.BufferedWriter(_Stderr()), "utf-8", errors="backslashreplace", line_buffering=True
    )
    sys.stdout = sys.stderr = console
