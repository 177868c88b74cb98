"""What slots run when only the way to them is measured: every attempt is done at once.

With more than one target it claims to have written some 64 kB for each, and a reader to have read them.
"""

from __future__ import annotations

from flowgrid_executor.slot_protocol import RunAttempt

from flowgrid.protocol.job_graph import Slice
from flowgrid.protocol.reports import AttemptReport

DONE = AttemptReport(rows_read=(), rows=(0,), bytes=(0,), digest=0)
ROWS, ROW_BYTES = 1_000, 64


def warm_up() -> None:
    """Nothing is needed."""


def run_attempt(request: RunAttempt) -> AttemptReport:
    if request.target_count == 1 and not request.slices:
        return DONE
    partition, targets = request.attempt.partition, range(request.target_count)
    rows = tuple(_rows(partition, target) for target in targets)
    sizes = tuple(ROW_BYTES * count for count in rows)
    read = tuple(_rows_of(part) for part in request.slices if part is not None)
    return AttemptReport(read, rows, sizes, digest=partition)


def _rows_of(part: Slice) -> int:
    producers = range(part.partition_start, part.partition_stop)
    targets = range(part.target_start, part.target_stop)
    return sum(_rows(producer, target) for producer in producers for target in targets)


def _rows(partition: int, target: int) -> int:
    return ROWS + (31 * partition + 17 * target) % 101
