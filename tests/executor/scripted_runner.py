"""What test slots run instead of fragments: the payload is the script. Imported by the template."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

from flowgrid_executor.slot_protocol import AttemptError, RunAttempt

from flowgrid.protocol.blocks import file_name
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.reports import AttemptReport

DONE = AttemptReport(rows_read=(), rows=(1,))


def warm_up() -> None:
    print("the slot is warm", file=sys.stderr)


def run_attempt(request: RunAttempt) -> AttemptReport:
    script = request.payload.decode()
    match script.partition(":")[0]:
        case "ok":
            return DONE
        case "pid":
            return AttemptReport(rows_read=(), rows=(os.getpid(),))
        case "write":
            _write(request, "")
            return DONE
        case "write-and-hang":
            _write(request, ".tmp")
            print("hanging", file=sys.stderr)
            signal.pause()
        case "child-and-hang":
            subprocess.Popen(["sleep", "1000"])
            signal.pause()
        case "hang":
            signal.pause()
        case "print":
            print("a word from the user")
            libc = ctypes.CDLL(None)
            libc.puts(b"a word from native code")
            libc.fflush(None)
            return DONE
        case "_exit":
            os._exit(3)
        case "exit":
            sys.exit("leaving")
        case "interrupt":
            raise KeyboardInterrupt
        case "memory":
            raise MemoryError
        case "typed":
            raise AttemptError(Failure(FailureKind.USER_ERROR, "typed"))
        case "segfault":
            ctypes.string_at(0)
        case "close-everything":
            os.closerange(3, 1000)
            signal.pause()
    raise ValueError(f"no script {script!r}")


def _write(request: RunAttempt, suffix: str) -> None:
    path = Path(request.directory, file_name(request.attempt) + suffix)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(1000))
    spill = Path(request.spill_directory)
    spill.mkdir(exist_ok=True)
    (spill / "spilled").touch()
