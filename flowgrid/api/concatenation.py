"""`concat`: several frames as one."""

from __future__ import annotations

from collections.abc import Sequence

from flowgrid.api.dataframe import DataFrame
from flowgrid.errors import PlanError


def concat(frames: Sequence[DataFrame]) -> DataFrame:
    """The rows of all frames, one after another, columns matched by name."""
    if not frames:
        raise PlanError("concat needs at least one frame")
    return frames[0].union(*frames[1:])
