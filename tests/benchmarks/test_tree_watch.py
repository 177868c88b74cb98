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
