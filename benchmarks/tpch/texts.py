"""The 22 TPC-H queries."""

from __future__ import annotations

from pathlib import Path

ALL = tuple(range(1, 23))

_QUERIES = Path(__file__).parent / "queries"


def query_text(number: int) -> str:
    return (_QUERIES / f"q{number:02d}.sql").read_text(encoding="utf-8")
