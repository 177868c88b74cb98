"""An executor on a slow disk, as if on another host: `slow_disk.py HOST DATA_ADDRESS FLAGS…`. Its slots
run `RUNNER`. Every write of blocks takes a pause, and every read for somebody else.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

PAUSE_S = 0.1
"""A hundred times what a disk needs for the chunk of a block."""

RUNNER = "tests.cluster.slow_disk:run_attempt"


def _slowly(call: Callable[..., Any]) -> Callable[..., Any]:
    def slow(*arguments: Any) -> Any:
        time.sleep(PAUSE_S)
        return call(*arguments)

    return slow


if __name__ == "__main__":
    os.pread = _slowly(os.pread)
    import flowgrid_executor.__main__

    from tests.cluster import other_host  # noqa: F401

    sys.exit(flowgrid_executor.__main__.main())
elif "flowgrid_executor.template" in sys.orig_argv:
    os.writev = _slowly(os.writev)
    from flowgrid_executor.task_runner import run_attempt as run_attempt
    from flowgrid_executor.task_runner import warm_up as warm_up
