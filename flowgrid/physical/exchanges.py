"""Exchanges: where partitioning changes, and with it one stage ends and others begin to read it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowgrid.logical.nodes import Leaf, Node
from flowgrid.physical.partitioning import Hashed, Partitioning
from flowgrid.protocol.job_graph import StageStatistics

if TYPE_CHECKING:
    from flowgrid.optimizer.estimates import Size


@dataclass(eq=False)
class Exchange:
    """The output of one stage. `statistics` come when it has succeeded; until then sizes are guesses.
    `expected` is the guess when the stage was made, if somebody guessed.
    """

    stage: int
    partition_count: int
    target_count: int
    partitioning: Partitioning
    statistics: StageStatistics | None = None
    expected: Size | None = None


@dataclass(frozen=True, eq=False)
class StageRead(Leaf):
    """The rows of an exchange: shared out among the tasks, all to each (`broadcast`), or all to the
    only one there is (`together`)."""

    exchange: Exchange
    origin: Node
    """What the exchange's stage runs: where estimates find more than rows and bytes."""
    broadcast: bool = False
    together: bool = False

    @property
    def exact_size(self) -> Size | None:
        """Rows and bytes as they were counted; None while the stage has not succeeded."""
        statistics = self.exchange.statistics
        if statistics is None:
            return None
        from flowgrid.optimizer.estimates import Size  # one slot estimates nothing

        return Size(float(statistics.total_rows), float(statistics.total_bytes))

    def describe(self) -> str:
        kind = "Broadcast" if self.broadcast else "Read"
        how = self.exchange.partitioning
        keys = ""
        if isinstance(how, Hashed) and not self.broadcast and not self.together:
            keys = f" hashed by {', '.join(min(how.keys))}"
        return f"{kind} stage {self.exchange.stage}{keys} [{', '.join(self.columns)}]"


class Pending(Exception):
    """Planning can go no further until a submitted stage has succeeded and told its sizes."""
