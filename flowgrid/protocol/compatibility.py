"""What the processes of a cluster must have in common to understand each other."""

from __future__ import annotations

import msgspec

PROTOCOL_VERSION = 6
"""Raised with every change of a message: peers that differ refuse each other by name."""


class Versions(msgspec.Struct, frozen=True):
    """What must agree between the processes of a cluster: Python and cloudpickle to the minor
    version, the protocol, pyarrow's and DuckDB's exactly, because hashes of keys are DuckDB's."""

    protocol: int
    flowgrid: str
    python: str
    pyarrow: str
    duckdb: str
