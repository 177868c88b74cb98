"""What slots run in a test: they die as soon as an attempt has written all that it writes, once for
each of the attempts that `DIES` names a folder for.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from flowgrid_executor import task_runner
from flowgrid_executor.slot_protocol import RunAttempt
from flowgrid_executor.task_runner import warm_up

from flowgrid.protocol.reports import AttemptReport

__all__ = ["DIES", "run_attempt", "warm_up"]

DIES = "FLOWGRID_TEST_DIES_IN"


def run_attempt(request: RunAttempt) -> AttemptReport:
    report = task_runner.run_attempt(request)
    died = Path(os.environ[DIES], str(request.attempt.task).replace("/", "-"))
    with contextlib.suppress(FileExistsError):
        os.close(os.open(died, os.O_CREAT | os.O_EXCL))
        os.kill(os.getpid(), signal.SIGKILL)
    return report
