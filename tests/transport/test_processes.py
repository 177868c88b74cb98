"""Waiting for a child ends with the child, or with the time."""

from __future__ import annotations

import subprocess
import sys
import time

from flowgrid.transport.processes import await_end


def test_a_child_that_ends_is_noticed_and_left_for_its_parent_to_reap() -> None:
    child = subprocess.Popen([sys.executable, "-c", "import sys; sys.exit(3)"])
    await_end(child.pid, 30.0)
    assert child.poll() == 3


def test_a_child_that_goes_on_is_waited_for_no_longer_than_asked() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        started = time.monotonic()
        await_end(child.pid, 0.05)
        assert time.monotonic() - started >= 0.05
        assert child.poll() is None
        assert child.stdin is not None
        child.stdin.close()
        child.kill()
