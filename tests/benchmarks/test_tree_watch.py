"""The memory figure covers children, and what ended stays counted."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.tree_watch import TreeWatch
from tests.cluster.deadlines import eventually

MIB = 1 << 20


def test_a_childs_memory_is_counted_and_its_peak_remembered() -> None:
    program = f"held = bytearray({64 * MIB}); print('held', flush=True); input()"
    with TreeWatch(os.getpid()) as memory:
        with subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "held\n"
            eventually("the child is counted", lambda: memory.bytes_max > 64 * MIB)
            child.communicate("\n")
        assert memory.bytes_max > 64 * MIB


def test_what_processes_share_is_counted_once() -> None:
    program = (
        f"import os; held = bytearray(b'x') * {64 * MIB}\n"
        "if os.fork(): print('held', flush=True)\n"
        "os.read(0, 1)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdin is not None
        assert parent.stdout.readline() == "held\n"
        with TreeWatch(parent.pid) as watch:  # its first look finds both
            eventually("both are counted", lambda: watch.bytes_max > 64 * MIB)
        parent.stdin.close()
    assert watch.bytes_max < 100 * MIB
