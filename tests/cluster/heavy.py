"""A job that shuffles all of its rows, and that knows its answer."""

from __future__ import annotations

import time

import flowgrid as fg

ROWS = 300_000

SHUFFLES = {"planner.force_exchanges": "true", "planner.partitions": "4"}
"""For a session: small data walks the paths of big data."""


def shuffled(session: fg.Session) -> fg.DataFrame:
    """Every row meets its like on some executor; one row comes back."""
    counted = session.range(ROWS).repartition(4).group_by("id").agg(fg.count().alias("n"))
    return counted.agg(fg.sum("id").alias("ids"), fg.sum("n").alias("rows"))


def require_right(frame: fg.DataFrame, within_s: float) -> None:
    """Run it: the right answer, and in time."""
    since = time.monotonic()
    assert frame.collect().to_pylist() == [{"ids": ROWS * (ROWS - 1) // 2, "rows": ROWS}]
    assert time.monotonic() - since < within_s
