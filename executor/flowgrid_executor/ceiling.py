"""What a slot may ask the system for, whether anybody watches or not.

The supervisor ends who uses more than its share. If the supervisor is stopped, or somebody asks for far
too much at once, the system itself says no, and the attempt fails where it asked.
"""

from __future__ import annotations

import resource

from flowgrid.config import GIB

_TIMES = 2
_RESERVED_BYTES = GIB
"""Allocators ask for more than they use: Arrow's reserves 1 GiB, and DuckDB's keeps what it gives back.
So the ceiling is far above a slot's share; the share itself is what the supervisor looks at."""


class Ceiling:
    """The limit of this process on private memory that it may write (RLIMIT_DATA)."""

    def __init__(self) -> None:
        self._share_bytes = 0
        self._at_start_bytes = _data_bytes()

    def rise_to(self, share_bytes: int) -> None:
        """For an attempt that may use so much; lower again for the next one that may use less."""
        if share_bytes != self._share_bytes:
            self._share_bytes = share_bytes
            limit = self._at_start_bytes + _TIMES * share_bytes + _RESERVED_BYTES
            _, hard = resource.getrlimit(resource.RLIMIT_DATA)
            if hard == resource.RLIM_INFINITY or limit < hard:
                resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def _data_bytes() -> int:
    """As the system counts it for that limit, near enough: with the stack."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[5]) * resource.getpagesize()
