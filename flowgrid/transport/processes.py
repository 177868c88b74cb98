"""The ends of child processes, noticed when they come."""

from __future__ import annotations

import os
import select


def await_end(pid: int, timeout_s: float) -> None:
    """Wait until a child of this process has ended, or the time is up; it is not reaped.

    `Popen.wait` with a timeout looks at growing intervals, and so is up to 8 ms late for ours.
    """
    handle = os.pidfd_open(pid)
    try:
        select.select([handle], [], [], timeout_s)
    finally:
        os.close(handle)
