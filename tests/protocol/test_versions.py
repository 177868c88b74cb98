"""Processes of different make find out before they misunderstand each other."""

from __future__ import annotations

import platform
import subprocess
import sys

import duckdb
import pyarrow as pa

from flowgrid.protocol.compatibility import PROTOCOL_VERSION
from flowgrid.protocol.versions import local_versions

COVERS = ["compatibility"]


def test_the_versions_are_those_of_this_process() -> None:
    versions = local_versions()
    assert versions.protocol == PROTOCOL_VERSION
    assert platform.python_version().startswith(versions.python + ".")
    assert versions.pyarrow == pa.__version__
    assert versions.duckdb == duckdb.__version__


def test_asking_for_them_imports_neither_pyarrow_nor_duckdb() -> None:
    program = (
        "import sys; from flowgrid.protocol.versions import local_versions; local_versions(); "
        "sys.exit(any(name in sys.modules for name in ('pyarrow', 'duckdb', 'numpy')))"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
