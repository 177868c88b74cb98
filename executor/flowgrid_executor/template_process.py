"""Starts the template: the first deed of an executor, so that its slow imports overlap all others.

Only the standard library in here, for the same reason.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys

DEFAULT_RUNNER = "flowgrid_executor.task_runner:run_attempt"

_ALLOCATOR = (
    "glibc.malloc.hugetlb=1",
    "glibc.malloc.trim_threshold=33554432",
    "glibc.malloc.mmap_threshold=8388608",
)
"""Batches are allocated and freed thousands of times. glibc gives back each that is the last of its
heap, and the next one faults all its pages in again; so 32 MiB may stay, in huge pages where the system
has them for those who ask. That is a quarter of what an export out of the kernel costs."""

_ARROW_RETURNS_AFTER_MS = "1000"
"""Arrow's allocator does the same after 10 ms."""


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
            env=slot_environment(),
        )
    return process, ours


def slot_environment() -> dict[str, str]:
    """The environment of the template, and so of the slots. What the user asks of glibc comes last."""
    tunables = ":".join([*_ALLOCATOR, *filter(None, [os.environ.get("GLIBC_TUNABLES")])])
    # A process that has threads cannot be forked safely, and these start them on import.
    one_thread = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    arrow = {"MIMALLOC_PURGE_DELAY": _ARROW_RETURNS_AFTER_MS}
    return {**arrow, **os.environ, **one_thread, "GLIBC_TUNABLES": tunables}
