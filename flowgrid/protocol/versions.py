"""What must agree between the processes of a cluster, found without importing any of it."""

from __future__ import annotations

import functools
import os
import sys

from flowgrid.protocol.compatibility import PROTOCOL_VERSION, Versions


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
    """The version in the name of the directory that every wheel leaves beside its packages."""
    start = f"{distribution.replace('-', '_')}-"
    for name in _distributions():
        if name.startswith(start):
            return name.removeprefix(start)
    return _recorded_version(distribution)


def _recorded_version(distribution: str) -> str:
    """The version of what was installed in another way than from a wheel."""
    from importlib import metadata  # with email and zipfile 15 ms, in every process of a cluster

    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


@functools.cache
def _distributions() -> list[str]:
    """Names such as ``duckdb-1.2.3``, those that Python would find first coming first."""
    suffix = ".dist-info"
    return [
        entry.removesuffix(suffix)
        for folder in sys.path
        if os.path.isdir(folder)
        for entry in os.listdir(folder)
        if entry.endswith(suffix)
    ]
