"""Which blocks of a stage exist: who won each partition, who holds it, how many rows it has.

One partition has at most one winner, and this is the only place that knows it. Sizes and the digest
of a winner are kept after its blocks are lost: that is how a recompute that differs is found.
Everything is an array with one entry per partition, or a `CountTable` of partitions and targets.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence

from flowgrid.protocol.job_graph import (
    ExecutorAddress,
    Slice,
    StageOutputs,
    StageSpec,
    StageStatistics,
)
from flowgrid.protocol.reports import AttemptReport
from flowgrid_scheduler.count_table import CountTable

NOBODY = -1


class BlockCatalog:
    """The blocks of one stage. `version` changes whenever a reader must be told anew."""

    __slots__ = (
        "_bytes",
        "_digests",
        "_outputs",
        "_rows",
        "_targets",
        "attempts",
        "holders",
        "spec",
        "version",
        "written",
    )

    def __init__(self, spec: StageSpec) -> None:
        count, self._targets = spec.partition_count, spec.target_count
        self.spec = spec
        self.version = 0
        self.attempts = array("i", [NOBODY]) * count
        self.holders = array("i", [NOBODY]) * count
        self.written = bytearray(count)
        """1 where a winner was ever accepted, also if its blocks are lost by now."""
        self._rows = CountTable(count, self._targets)
        self._bytes = CountTable(count, self._targets)
        self._digests = array("Q", [0]) * count
        self._outputs: tuple[int, StageOutputs] | None = None
        if spec.given is not None:
            for partition, rows in enumerate(spec.given_rows):
                self._rows.put(partition, rows)
            self.attempts = array("i", spec.given.attempts)
            self.written = bytearray(b"\1" * count)

    def register(
        self,
        partition: int,
        attempt: int,
        holder: int,
        rows: Sequence[int],
        bytes_: Sequence[int],
        digest: int,
    ) -> None:
        """A winner, with its rows and bytes by target. Nobody holds it if its blocks are lost."""
        self.attempts[partition] = attempt
        self.holders[partition] = holder
        self.written[partition] = 1
        self._rows.put(partition, rows)
        self._bytes.put(partition, bytes_)
        self._digests[partition] = digest
        self.version += 1

    def move(self, partition: int, holder: int) -> None:
        """The winner's blocks are elsewhere now, and are the same."""
        self.holders[partition] = holder
        self.version += 1

    def unregister(self, partition: int) -> None:
        """The winner's blocks are gone; what is known of its rows stays."""
        self.attempts[partition] = self.holders[partition] = NOBODY
        self.version += 1

    def held_by(self, holder: int) -> list[int]:
        """Partitions whose blocks an executor holds, ascending."""
        if holder not in self.holders:
            return []
        return [p for p, who in enumerate(self.holders) if who == holder]

    def differs(self, partition: int, digest: int) -> bool:
        """Whether an earlier winner of this partition wrote other rows."""
        return bool(self.written[partition]) and digest != self._digests[partition]

    def sizes_of(self, partition: int) -> tuple[array[int], array[int]]:
        """Rows and bytes of the last winner, by target."""
        return self._rows.row(partition), self._bytes.row(partition)

    def digest_of(self, partition: int) -> int:
        """Which rows the last winner wrote for whom, as one number."""
        return self._digests[partition]

    def report_of(self, partition: int) -> AttemptReport:
        """What the last winner said of its blocks."""
        rows, bytes_ = map(tuple, self.sizes_of(partition))
        return AttemptReport((), rows, bytes_, self.digest_of(partition))

    def attempts_in(self, part: Slice | None) -> tuple[int, ...]:
        """The attempts that a reader of this slice (None: of everything) must read."""
        if part is None:
            return tuple(self.attempts)
        if part.target_start >= part.target_stop:
            return ()
        return tuple(self.attempts[part.partition_start : part.partition_stop])

    def rows_in(self, part: Slice | None) -> int:
        """Rows that a reader of this slice (None: of everything) must see."""
        if part is None:
            return sum(self._rows.sums)
        return self._rows.total(
            range(part.partition_start, part.partition_stop),
            range(part.target_start, part.target_stop),
        )

    def bytes_in(self, part: Slice, partition: int) -> int:
        """Bytes that a reader of this slice reads of one partition."""
        columns = range(part.target_start, part.target_stop)
        return self._bytes.total(range(partition, partition + 1), columns)

    @property
    def total_bytes(self) -> int:
        """Bytes of the winners of all partitions, also of those that are lost by now."""
        return sum(self._bytes.sums)

    def statistics(self) -> StageStatistics:
        """Rows and bytes per target, over the winners of all partitions."""
        return StageStatistics(tuple(self._rows.sums), tuple(self._bytes.sums))

    def outputs(self, address_of: Callable[[int], ExecutorAddress]) -> StageOutputs:
        """What readers are told, made once per version."""
        if self.spec.given is not None:
            return self.spec.given
        if self._outputs is None or self._outputs[0] != self.version:
            held = sorted({who for who in self.holders if who != NOBODY})
            position = {who: index for index, who in enumerate(held)} | {NOBODY: NOBODY}
            outputs = StageOutputs(
                self.spec.number,
                tuple(map(address_of, held)),
                tuple(position[who] for who in self.holders),
                tuple(self.attempts),
            )
            self._outputs = (self.version, outputs)
        return self._outputs[1]

    def fingerprint(self) -> list[object]:
        """Everything that matters here as plain data."""
        arrays = [part.tobytes() for part in (self.attempts, self.holders, self._digests)]
        counts = [table.fingerprint() for table in (self._rows, self._bytes)]
        return [self.version, bytes(self.written), *arrays, *counts]
