"""What this executor would answer to a roll call: the attempts it runs, and those it has blocks of.

A scheduler that starts again knows from its log which attempts won, and nothing of those that ran when
its predecessor died. So every attempt is kept here with what it was told to read, until it is dropped;
reports are kept as bytes, because a shuffle's many small numbers take a tenth of the space so.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import msgspec

from flowgrid.ids import AttemptId, JobId
from flowgrid.protocol.job_graph import Slice, StageOutputs
from flowgrid.protocol.reports import AttemptReport, HeldAttempt
from flowgrid_executor.slot_protocol import RunAttempt

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(AttemptReport)


class _Holding:
    __slots__ = ("directory", "inputs", "report", "slices")

    def __init__(
        self,
        inputs: tuple[StageOutputs, ...] = (),
        slices: tuple[Slice | None, ...] = (),
        directory: str = "",
    ) -> None:
        self.inputs = inputs
        self.slices = slices
        self.directory = directory
        self.report: bytes | None = None

    def claim(self, attempt: AttemptId) -> HeldAttempt:
        reads = tuple(map(_attempts_read, self.inputs, self.slices))
        report = _decoder.decode(self.report) if self.report is not None else None
        return HeldAttempt(attempt, reads, report)


class Holdings:
    """By attempt, from its start to its end or to the end of its blocks."""

    def __init__(self) -> None:
        self._held: dict[AttemptId, _Holding] = {}

    def begin(self, request: RunAttempt) -> None:
        self._held[request.attempt] = _Holding(request.inputs, request.slices, request.directory)

    def finish(self, attempt: AttemptId, report: AttemptReport) -> None:
        self._held[attempt].report = _encoder.encode(report)

    def take_over(self, attempt: AttemptId, report: AttemptReport) -> None:
        """Blocks that another executor's attempt wrote are here now."""
        self._held[attempt] = _Holding()
        self.finish(attempt, report)

    def directory_of(self, attempt: AttemptId) -> str:
        """Where it wrote; "" for what is not held, or was fetched from another executor."""
        held = self._held.get(attempt)
        return held.directory if held is not None else ""

    def drop(self, attempt: AttemptId) -> None:
        self._held.pop(attempt, None)

    def drop_job(self, job: JobId) -> None:
        self._held = {a: held for a, held in self._held.items() if a.job != job.number}

    def clear(self) -> None:
        self._held.clear()

    def claims(self, running: Collection[AttemptId]) -> Iterator[HeldAttempt]:
        """What has succeeded, and what runs on."""
        for attempt, held in self._held.items():
            if held.report is not None or attempt in running:
                yield held.claim(attempt)


def _attempts_read(outputs: StageOutputs, part: Slice | None) -> tuple[int, ...]:
    if part is None:
        return outputs.attempts
    if part.target_start >= part.target_stop:
        return ()
    return outputs.attempts[part.partition_start : part.partition_stop]
