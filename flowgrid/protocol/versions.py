"""What must agree between the processes of a cluster, found without importing any of it."""

from __future__ import annotations

import sys
from importlib import metadata

from flowgrid.protocol.messages import PROTOCOL_VERSION, Versions


def local_versions() -> Versions:
    """This process's versions; a distribution that is not installed has version ""."""
    return Versions(
        protocol=PROTOCOL_VERSION,
        flowgrid=_version("flowgrid-engine"),
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
        pyarrow=_version("pyarrow"),
        duckdb=_version("duckdb"),
    )


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
