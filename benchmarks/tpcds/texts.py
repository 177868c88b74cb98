"""The 99 TPC-DS queries, as they came with the data."""

from __future__ import annotations

from pathlib import Path

ALL = tuple(range(1, 100))


def query_text(number: int, data: Path) -> str:
    """The query from a directory that `benchmarks.datasets.tpcds` has made."""
    return (data / "queries" / f"q{number:02d}.sql").read_text(encoding="utf-8")
