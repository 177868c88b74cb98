"""Makes the data that benchmarks, examples and tests read: once per machine, the same everywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
import tempfile
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


def tpch(scale: float, cache: Path = CACHE) -> Path:
    """A directory with one Parquet file per TPC-H table at this scale, made if it is not there."""
    directory = cache / f"tpch-{scale:g}"
    if directory.is_dir():
        return directory
    cache.mkdir(parents=True, exist_ok=True)
    # The rename is atomic: a reader never sees half of the tables, and of two processes that start
    # together the second throws its copy away.
    with tempfile.TemporaryDirectory(dir=cache, prefix="making-") as making:
        made = Path(making) / "tables"
        subprocess.run(
            [_generator(), "parquet", "-s", f"{scale:g}", "--output-dir", str(made)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        try:
            os.rename(made, directory)
        except OSError:
            if not directory.is_dir():
                raise
    return directory


def _generator() -> str:
    """The `tpchgen-cli` beside this Python, or the one on the PATH."""
    found = shutil.which("tpchgen-cli", path=sysconfig.get_path("scripts"))
    found = found or shutil.which("tpchgen-cli")
    if found is None:
        raise SystemExit("tpchgen-cli is missing; it comes with: pip install -e '.[dev]'")
    return found
