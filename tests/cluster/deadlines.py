"""Waiting for something that must happen, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

POLL_INTERVAL_S = 0.02


def eventually(
    what: str,
    look: Callable[[], T],
    within_s: float = 10.0,
    explain: Callable[[], object] = lambda: "",
) -> T:
    """The first true value of `look`; after the deadline it fails by name, with `explain()`."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within_s:g} s: {what}; {explain()}")
        time.sleep(POLL_INTERVAL_S)
    return seen
