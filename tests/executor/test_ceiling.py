"""The system says no to who asks for far too much."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from flowgrid_executor.ceiling import Ceiling

ceiling = Ceiling()
ceiling.rise_to(64 << 20)
bytes(1 << 30)
try:
    bytes(2 << 30)
except MemoryError:
    print("refused")
ceiling.rise_to(2 << 30)
print(len(bytes(2 << 30)) >> 30)
"""


def test_far_more_than_a_share_is_refused_where_it_is_asked_for() -> None:
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
    ).stdout
    assert said.split() == ["refused", "2"]
