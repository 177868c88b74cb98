"""Which blocks of a stage exist: who won each partition, who holds it, how many rows it has.

One partition has at most one winner, and this is the only place that knows it. Sizes and digests of
a winner are kept after its blocks are lost: that is how a recompute that differs is found.
Everything is an array with one entry per partition, or per partition and target.
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
        self._rows = array("q", [0]) * (count * self._targets)
        self._bytes = array("q", [0]) * (count * self._targets)
        self._digests = array("Q", [0]) * (count * self._targets)
        self._outputs: tuple[int, StageOutputs] | None = None
        if spec.given is not None:
            self._rows = array("q", (rows for part in spec.given_rows for rows in part))
            self.attempts = array("i", spec.given.attempts)
            self.written = bytearray(b"\1" * count)

    def register(
        self,
        partition: int,
        attempt: int,
        holder: int,
        sizes: tuple[Sequence[int], Sequence[int], Sequence[int]],
    ) -> None:
        """A winner. `sizes` are rows, bytes and digests, one entry per target."""
        self.attempts[partition] = attempt
        self.holders[partition] = holder
        self.written[partition] = 1
        rows, bytes_, digests = sizes
        if self._targets == 1:
            self._rows[partition] = rows[0]
            self._bytes[partition] = bytes_[0]
            self._digests[partition] = digests[0]
        else:
            cells = self._part(partition)
            self._rows[cells] = array("q", rows)
            self._bytes[cells] = array("q", bytes_)
            self._digests[cells] = array("Q", digests)
        self.version += 1

    def restore(
        self, partition: int, attempt: int, holder: int, cells: tuple[bytes, bytes, bytes]
    ) -> None:
        """A winner from `cells_of`; nobody holds it if its blocks were lost."""
        self.attempts[partition] = attempt
        self.holders[partition] = holder
        self.written[partition] = 1
        part = self._part(partition)
        self._rows[part] = array("q", cells[0])
        self._bytes[part] = array("q", cells[1])
        self._digests[part] = array("Q", cells[2])

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

    def differs(self, partition: int, digests: Sequence[int]) -> bool:
        """Whether an earlier winner of this partition wrote other rows."""
        return bool(self.written[partition]) and list(digests) != self.digests_of(partition)

    def digests_of(self, partition: int) -> list[int]:
        """One digest per target, of the last winner."""
        return list(self._digests[self._part(partition)])

    def report_of(self, partition: int) -> AttemptReport:
        """What the last winner said of its blocks."""
        part = self._part(partition)
        rows, bytes_, digests = self._rows[part], self._bytes[part], self._digests[part]
        return AttemptReport((), tuple(rows), tuple(bytes_), tuple(digests))

    def cells_of(self, partition: int) -> tuple[bytes, bytes, bytes]:
        """Rows, bytes and digests of the last winner, as they lie in memory."""
        part = self._part(partition)
        rows, bytes_, digests = self._rows[part], self._bytes[part], self._digests[part]
        return rows.tobytes(), bytes_.tobytes(), digests.tobytes()

    def wrote(
        self, partition: int, sizes: tuple[Sequence[int], Sequence[int], Sequence[int]]
    ) -> bool:
        """Whether the last winner wrote exactly so many rows and bytes, with these digests."""
        part = self._part(partition)
        known = (self._rows[part], self._bytes[part], self._digests[part])
        return all(list(mine) == list(theirs) for mine, theirs in zip(known, sizes, strict=True))

    def attempts_in(self, part: Slice | None) -> tuple[int, ...]:
        """The attempts that a reader of this slice (None: of everything) must read."""
        if part is None:
            return tuple(self.attempts)
        if part.target_start >= part.target_stop:
            return ()
        return tuple(self.attempts[part.partition_start : part.partition_stop])

    def _part(self, partition: int) -> slice:
        return slice(partition * self._targets, (partition + 1) * self._targets)

    def rows_in(self, part: Slice | None) -> int:
        """Rows that a reader of this slice (None: of everything) must see."""
        if part is None:
            return sum(self._rows)
        targets = self._targets
        first, stop = part.partition_start * targets, part.partition_stop * targets
        if part.target_stop - part.target_start == targets:
            return sum(self._rows[first:stop])
        return sum(
            sum(self._rows[first + target : stop : targets])
            for target in range(part.target_start, part.target_stop)
        )

    def bytes_in(self, part: Slice, partition: int) -> int:
        """Bytes that a reader of this slice reads of one partition."""
        first = partition * self._targets
        return sum(self._bytes[first + part.target_start : first + part.target_stop])

    @property
    def total_bytes(self) -> int:
        """Bytes of the winners of all partitions, also of those that are lost by now."""
        return sum(self._bytes)

    def statistics(self) -> StageStatistics:
        """Rows and bytes per target, over the winners of all partitions."""
        step = self._targets
        return StageStatistics(
            tuple(sum(self._rows[target::step]) for target in range(step)),
            tuple(sum(self._bytes[target::step]) for target in range(step)),
        )

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
        arrays = (self.attempts, self.holders, self._rows, self._bytes, self._digests)
        return [self.version, bytes(self.written), *(part.tobytes() for part in arrays)]
