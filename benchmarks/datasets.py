"""Makes the data that benchmarks, examples and tests read: once per machine, the same everywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Callable
from pathlib import Path

TPCH_TABLES = (
    "customer",
    "lineitem",
    "nation",
    "orders",
    "part",
    "partsupp",
    "region",
    "supplier",
)

CACHE = Path(__file__).parent / "data"
"""Ignored by git. Deleting it is always safe."""

_TPCDS_EXTENSION = "1.5.5"
"""The last DuckDB for which the package index has its TPC-DS extension."""


def tpch(scale: float, cache: Path = CACHE) -> Path:
    """A directory with one Parquet file per TPC-H table at this scale, made if it is not there."""

    def make(directory: Path) -> None:
        command = [_generator(), "parquet", "-s", f"{scale:g}", "--output-dir", str(directory)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

    return made_once(cache / f"tpch-{scale:g}", make)


def tpcds(scale: float, cache: Path = CACHE) -> Path:
    """A directory with one Parquet file per TPC-DS table, and `queries/q01.sql` to `q99.sql`."""

    def make(directory: Path) -> None:
        environment = {**os.environ, "PYTHONPATH": str(_tpcds_packages(cache))}
        program = Path(__file__).parent / "tpcds" / "generate.py"
        command = [sys.executable, str(program), f"{scale:g}", str(directory)]
        subprocess.run(command, check=True, env=environment)

    return made_once(cache / f"tpcds-{scale:g}", make)


def tables_in(directory: Path) -> dict[str, Path]:
    """The Parquet files of a directory by the names of their tables."""
    return {path.stem: path for path in sorted(directory.glob("*.parquet"))}


def made_once(directory: Path, make: Callable[[Path], None]) -> Path:
    """The directory, filled by `make` if it is not there."""
    if directory.is_dir():
        return directory
    directory.parent.mkdir(parents=True, exist_ok=True)
    # The rename is atomic: a reader never sees half of the tables, and of two processes that start
    # together the second throws its copy away.
    with tempfile.TemporaryDirectory(dir=directory.parent, prefix="making-") as making:
        made = Path(making) / "tables"
        make(made)
        try:
            os.rename(made, directory)
        except OSError:
            if not directory.is_dir():
                raise
    return directory


def _tpcds_packages(cache: Path) -> Path:
    """A folder with the TPC-DS extension and the DuckDB that it belongs to.

    There is no such package for DuckDB 2, and an extension loads into its own version only. So both
    are installed beside our environment, not into it.
    """

    def make(directory: Path) -> None:
        package = f"duckdb-extension-tpcds=={_TPCDS_EXTENSION}"
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        pip += ["--target", str(directory), package, f"duckdb=={_TPCDS_EXTENSION}"]
        subprocess.run(pip, check=True)

    return made_once(cache / f"tpcds-extension-{_TPCDS_EXTENSION}", make)


def _generator() -> str:
    """The `tpchgen-cli` beside this Python, or the one on the PATH."""
    found = shutil.which("tpchgen-cli", path=sysconfig.get_path("scripts"))
    found = found or shutil.which("tpchgen-cli")
    if found is None:
        raise SystemExit("tpchgen-cli is missing; it comes with: pip install -e '.[dev]'")
    return found
