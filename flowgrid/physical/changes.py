"""What was done otherwise than estimates said, because finished stages had told their real sizes."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from flowgrid.config import MIB
from flowgrid.logical.nodes import Node
from flowgrid.physical.exchanges import Exchange, StageRead
from flowgrid.physical.layout import TaskShare, partitioned_leaves
from flowgrid.protocol.job_graph import Slice


class ChangeKind(enum.StrEnum):
    """What became of a decision."""

    BROADCAST = "broadcast instead of hash"
    HASH = "hash instead of broadcast"
    MERGED = "partitions merged"
    SPLIT = "partition split"
    TOGETHER = "one task"
    FILTERED = "filtered"


class Unit(enum.StrEnum):
    BYTES = "bytes"
    ROWS = "rows"


class Change(msgspec.Struct, frozen=True):
    """One decision: what was changed, and the real amount beside the one that was expected."""

    kind: ChangeKind
    what: str
    expected: float
    real: float
    unit: Unit = Unit.BYTES

    def __str__(self) -> str:
        amounts = f"{self._amount(self.real)}, expected {self._amount(self.expected)}"
        return f"{self.kind}: {self.what} ({amounts})"

    def _amount(self, value: float) -> str:
        if self.unit is Unit.ROWS:
            return f"{value:,.0f} rows"
        return f"{value / MIB:,.1f} MiB" if value >= MIB / 10 else f"{value:,.0f} bytes"


def explain_changes(changes: Iterable[Change]) -> str:
    """A line for each; one that says so where there is none."""
    return "\n".join(map(str, changes)) or "nothing was changed at run time"


def of_join(join: str, side: Exchange, is_below: bool, limit: float) -> Iterator[Change]:
    """What the real size of a join's smaller side changed: whether it is below the broadcast limit."""
    expected, real = side.expected, side.statistics
    if expected is None or real is None or (expected.bytes <= limit) == is_below:
        return
    kind = ChangeKind.BROADCAST if is_below else ChangeKind.HASH
    yield Change(kind, f"stage {side.stage} for {join}", expected.bytes, real.total_bytes)


def of_reduction(fold: str, few: Exchange) -> Iterator[Change]:
    """A fold will only be made of rows with a partner among a finished stage's."""
    if few.expected is not None and few.statistics is not None:
        what = f"{fold} folds rows with a partner in stage {few.stage}"
        real = few.statistics.total_rows
        yield Change(ChangeKind.FILTERED, what, few.expected.rows, real, Unit.ROWS)


def of_layout(stage: int, root: Node, tasks: Sequence[TaskShare]) -> Iterator[Change]:
    """How a stage reads the partitions of others: several in one task, or one in several."""
    reads = [leaf for leaf in partitioned_leaves(root) if isinstance(leaf, StageRead)]
    known = [read for read in reads if read.exchange.expected and read.exchange.statistics]
    partitions = max((_partitions(read) for read in known), default=0)
    if len(tasks) < partitions:
        expected = sum(read.exchange.expected.bytes for read in known if read.exchange.expected)
        real = sum(r.exchange.statistics.total_bytes for r in known if r.exchange.statistics)
        kind = ChangeKind.TOGETHER if len(tasks) == 1 else ChangeKind.MERGED
        sources = ", ".join(dict.fromkeys(str(read.exchange.stage) for read in known))
        count = "one task" if len(tasks) == 1 else f"{len(tasks)} tasks"
        what = f"stage {stage} reads {partitions} partitions of stage {sources} in {count}"
        yield Change(kind, what, expected, real)
    for read in known:
        yield from _splits(stage, read, tasks)


def _partitions(read: StageRead) -> int:
    exchange = read.exchange
    return exchange.target_count if exchange.target_count > 1 else exchange.partition_count


def _splits(stage: int, read: StageRead, tasks: Sequence[TaskShare]) -> Iterator[Change]:
    made = read.exchange.statistics
    assert made is not None
    if read.exchange.target_count == 1:
        return
    pieces: dict[int, int] = {}
    for task in tasks:
        share = task.get(read)
        if isinstance(share, Slice):
            width = share.partition_stop - share.partition_start
            if 0 < width < read.exchange.partition_count:
                pieces[share.target_start] = pieces.get(share.target_start, 0) + 1
    for target, count in pieces.items():
        what = f"stage {stage} reads partition {target} of stage {read.exchange.stage} in {count} tasks"
        yield Change(
            ChangeKind.SPLIT, what, sorted(made.bytes)[len(made.bytes) // 2], made.bytes[target]
        )
