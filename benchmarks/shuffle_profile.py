"""A shuffle's steps, one after another, by the processor time of one task.

Rows with their hashes out of the kernel, rows to targets, blocks to a file, blocks back with their
checksums verified, batches into the kernel. A process of its own, with a slot's environment, does it:
``python -m benchmarks.shuffle_profile numeric 4000000 FOLDER`` prints a line of JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar

import duckdb
import pyarrow as pa
from flowgrid_executor.shuffle.columns import gather
from flowgrid_executor.shuffle.partitioner import Partitioner, group_rows
from flowgrid_executor.shuffle.writer import ROW_HASH, write_blocks
from flowgrid_executor.template_process import slot_environment

from benchmarks.recordings import Measurement
from flowgrid.config import Config
from flowgrid.io.blocks import BlockFile
from flowgrid.protocol.fragment import BlocksOutput

Answer = TypeVar("Answer")

KEY_HASH = "#key"
TARGETS = 16
_REPEAT = 3

SHAPES = {
    "numeric": "i AS k, i * 3 AS a, i * 7 AS b, i / 3 AS x, i / 7 AS y, CAST(i % 1000 AS INTEGER) AS c",
    "strings": "i AS k, 'item number ' || hash(i) AS a, 'a comment of some length on ' || i AS b",
}
SUMS = {
    "numeric": "count(*), sum(k), sum(a), sum(b), sum(x::BIGINT), sum(y::BIGINT), sum(c)",
    "strings": "count(*), sum(k), sum(length(a)), sum(length(b))",
}


def profile(shape: str, rows: int, folder: Path) -> Measurement:
    """Processor seconds of each step for one task, on one core, the least of some repetitions.

    Batches stream, as in a slot: each step is timed with those before it, and the difference counts.
    What the kernel needs for the same sums without an exchange is no part of the shuffle.
    """
    output = subprocess.check_output(
        [sys.executable, "-m", __name__, shape, str(rows), str(folder)], env=slot_environment()
    )
    figures: dict[str, float] = json.loads(output)
    verdict = "" if figures.pop("right") else "wrong: the sums changed"
    total = figures.pop("total_s")
    return Measurement(f"{shape}, one task", "flowgrid", [total], verdict, [total], figures=figures)


class _Steps:
    """The rows of one shape, and what a shuffle does to them."""

    def __init__(
        self, kernel: duckdb.DuckDBPyConnection, shape: str, rows: int, path: Path
    ) -> None:
        self._kernel = kernel
        self._path = path
        self._sums = f"SELECT {SUMS[shape]} FROM"
        self._output = BlocksOutput(TARGETS, "hash", KEY_HASH)
        self.table = kernel.sql(
            f"SELECT {SHAPES[shape]} FROM range({rows}) AS t(i)"
        ).to_arrow_table()
        kernel.register("plain", self.table)
        names = ", ".join(self.table.column_names)
        self._query = f'SELECT *, hash({names}) AS "{ROW_HASH}", hash(k) AS "{KEY_HASH}" FROM plain'

    def out(self) -> pa.RecordBatchReader:
        return self._kernel.sql(self._query).to_arrow_reader(Config().kernel_batch_rows)

    def partitioned(self) -> Iterator[pa.RecordBatch]:
        """What the writer does with each batch before it has something to write."""
        partitioner = Partitioner(self._output, 0)
        for batch in self.out():
            order, _ = group_rows(partitioner.targets(batch), TARGETS)
            payload = [name for name in batch.schema.names if name not in (ROW_HASH, KEY_HASH)]
            yield gather(batch.select(payload), order)

    def forget(self) -> None:
        """A file that takes the place of another is brought to the disk at once; blocks never do."""
        self._path.unlink(missing_ok=True)

    def write(self) -> None:
        reader = self.out()
        write_blocks(self._path, self._output, 0, reader.schema, reader)

    def read(self) -> Iterator[pa.RecordBatch]:
        return BlockFile(self._path).batches(range(TARGETS))

    def feed(self) -> list[tuple[int, ...]]:
        blocks = self.read()
        first = next(blocks)
        reader = pa.RecordBatchReader.from_batches(first.schema, chain([first], blocks))
        self._kernel.register("blocks", reader)
        return self._sums_of("blocks")

    def without_exchange(self) -> list[tuple[int, ...]]:
        return self._sums_of("plain")

    def _sums_of(self, relation: str) -> list[tuple[int, ...]]:
        sums: list[tuple[int, ...]] = self._kernel.sql(f"{self._sums} {relation}").fetchall()
        return sums


def measure(shape: str, rows: int, folder: Path) -> dict[str, float]:
    """The figures of `profile`, in this process."""
    with duckdb.connect(config={"threads": 1}) as kernel:
        kernel.sql("SET arrow_output_version = '1.5'")
        steps = _Steps(kernel, shape, rows, folder / f"{shape}.blocks")
        out_s, _ = _timed(lambda: _drain(steps.out()))
        partitioned_s, _ = _timed(lambda: _drain(steps.partitioned()))
        written_s, _ = _timed(steps.write, steps.forget)
        read_s, _ = _timed(lambda: _drain(steps.read()))
        fed_s, sums = _timed(steps.feed)
        without_s, expected = _timed(steps.without_exchange)
        total_s = written_s + fed_s - without_s
        return {
            "right": sums == expected,
            "total_s": total_s,
            "out_of_the_kernel_s": out_s,
            "partition_s": partitioned_s - out_s,
            "write_s": written_s - partitioned_s,
            "read_s": read_s,
            "feed_s": fed_s - read_s,
            "without_exchange_s": without_s,
            "size_bytes": float(steps.table.nbytes),
            "per_core_bytes_per_s": steps.table.nbytes / total_s,
        }


def _timed(
    work: Callable[[], Answer], before: Callable[[], None] = lambda: None
) -> tuple[float, Answer]:
    least = float("inf")
    for _ in range(_REPEAT):
        before()
        start = time.process_time()
        answer = work()
        least = min(least, time.process_time() - start)
    return least, answer


def _drain(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))))
