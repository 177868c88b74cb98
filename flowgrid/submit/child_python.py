"""How to start one of our modules in a child that finds the same code as this process.

Users' functions may come from modules that lie beside their program; slots import them by name, so a
child gets this process's search path.
"""

from __future__ import annotations

import os
import sys


def python_module(module: str) -> list[str]:
    """The start of a command line. ``-P``: what lies in the current folder must not come first."""
    return [sys.executable, "-P", "-m", module]


def child_environment() -> dict[str, str]:
    """Our environment, our search path, and output that is not held back."""
    own = [entry for entry in map(os.path.abspath, sys.path) if not _comes_by_itself(entry)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(own), "PYTHONUNBUFFERED": "1"}


def _comes_by_itself(entry: str) -> bool:
    """Whether every interpreter of this installation has the entry: repeating it costs look-ups."""
    return any(
        entry.startswith(os.path.join(prefix, "lib", "python"))
        for prefix in (sys.prefix, sys.base_prefix, sys.exec_prefix)
    )
