"""Starts the template: the first deed of an executor, so that its slow imports overlap all others.

Only the standard library in here, for the same reason.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys

DEFAULT_RUNNER = "flowgrid_executor.task_runner:run_attempt"


def spawn_template(runner: str) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The template's process and our end of its control socket.

    `runner` is ``module:function``: what a slot calls with each `RunAttempt`. The kernel of the system
    ties the child's life to the thread that calls this, so it must be the main one.
    """
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        command = [sys.executable, *(["-P"] if sys.flags.safe_path else [])]
        command += ["-m", "flowgrid_executor.template"]
        command += [runner, str(os.getpid()), str(theirs.fileno())]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            # A process that has threads cannot be forked safely, and these start them on import.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
    return process, ours
