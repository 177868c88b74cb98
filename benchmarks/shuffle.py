"""`shuffle`: bytes per second and core from the kernel's rows on one side to the kernel on the other.

The profile runs a task's own steps in this process, one after another, each by its processor time: rows
with their hashes out of the kernel, rows to targets, blocks to a file, blocks back with their checksums
verified, batches into the kernel. End to end, a cluster does the same query with and without an exchange
of all rows; the difference is the shuffle, with everything that was overlooked.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import TypeVar

import click
import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
from flowgrid_executor.shuffle.columns import gather
from flowgrid_executor.shuffle.partitioner import Partitioner, group_rows
from flowgrid_executor.shuffle.writer import ROW_HASH, write_blocks

import flowgrid as fg
from benchmarks import options, recordings
from benchmarks.harness import core_count, machine_facts, median
from benchmarks.recordings import Measurement, Recording
from benchmarks.seats import threads_of
from flowgrid.io.blocks import BlockFile
from flowgrid.protocol.fragment import BlocksOutput

Answer = TypeVar("Answer")

KEY_HASH = "#key"
TARGETS = 16
_BATCH_ROWS = 122_880
PROFILE_ROWS_MAX = 4_000_000
"""The profile begins with its rows in memory."""

SHAPES = {
    "numeric": "i AS k, i * 3 AS a, i * 7 AS b, i / 3 AS x, i / 7 AS y, CAST(i % 1000 AS INTEGER) AS c",
    "strings": "i AS k, 'item number ' || hash(i) AS a, 'a comment of some length on ' || i AS b",
}
_SUMS = {
    "numeric": "count(*), sum(k), sum(a), sum(b), sum(x::BIGINT), sum(y::BIGINT), sum(c)",
    "strings": "count(*), sum(k), sum(length(a)), sum(length(b))",
}


def profile(shape: str, rows: int, folder: Path) -> Measurement:
    """Processor seconds of each step for one task, on one core.

    Batches stream, as in a slot: each step is timed with those before it, and the difference counts.
    """
    with duckdb.connect(config={"threads": 1}) as kernel:
        kernel.sql("SET arrow_output_version = '1.5'")
        plain = kernel.sql(f"SELECT {SHAPES[shape]} FROM range({rows}) AS t(i)").to_arrow_table()
        kernel.register("plain", plain)
        names = ", ".join(plain.column_names)
        query = f'SELECT *, hash({names}) AS "{ROW_HASH}", hash(k) AS "{KEY_HASH}" FROM plain'
        output = BlocksOutput(TARGETS, "hash", KEY_HASH)
        path = folder / f"{shape}.blocks"

        def rows_out() -> pa.RecordBatchReader:
            return kernel.sql(query).to_arrow_reader(_BATCH_ROWS)

        def fed() -> list[tuple[int, ...]]:
            blocks = BlockFile(path).batches(range(TARGETS))
            first = next(blocks)
            reader = pa.RecordBatchReader.from_batches(first.schema, chain([first], blocks))
            kernel.register("blocks", reader)
            sums: list[tuple[int, ...]] = kernel.sql(
                f"SELECT {_SUMS[shape]} FROM blocks"
            ).fetchall()
            return sums

        out_s, _ = _timed(lambda: _drain(rows_out()))
        partitioned_s, _ = _timed(lambda: _drain(_partitioned(rows_out(), output)))
        schema = rows_out().schema
        written_s, _ = _timed(lambda: write_blocks(path, output, 0, schema, rows_out()))
        read_s, _ = _timed(lambda: _drain(BlockFile(path).batches(range(TARGETS))))
        fed_s, sums = _timed(fed)
        expected = kernel.sql(f"SELECT {_SUMS[shape]} FROM plain").fetchall()
    total = written_s + fed_s
    figures = {
        "out_of_the_kernel_s": out_s,
        "partition_s": partitioned_s - out_s,
        "write_s": written_s - partitioned_s,
        "read_s": read_s,
        "feed_s": fed_s - read_s,
        "size_bytes": float(plain.nbytes),
        "per_core_bytes_per_s": plain.nbytes / total,
    }
    verdict = "" if sums == expected else f"wrong: {sums} for {expected}"
    return Measurement(f"{shape}, one task", "flowgrid", [total], verdict, [total], figures=figures)


def _timed(work: Callable[[], Answer]) -> tuple[float, Answer]:
    start = time.process_time()
    answer = work()
    return time.process_time() - start, answer


def _drain(batches: Iterable[object]) -> None:
    for _ in batches:
        pass


def _partitioned(
    batches: Iterable[pa.RecordBatch], output: BlocksOutput
) -> Iterator[pa.RecordBatch]:
    """What the writer does with each batch before it has something to write."""
    partitioner = Partitioner(output, 0)
    for batch in batches:
        order, _ = group_rows(partitioner.targets(batch), output.target_count)
        payload = [name for name in batch.schema.names if name not in (ROW_HASH, KEY_HASH)]
        yield gather(batch.select(payload), order)


def end_to_end(shape: str, rows: int, master: str, repeat: int, folder: Path) -> Measurement:
    """A cluster's seconds for the same sums with all rows exchanged, less those without."""
    files = folder / shape
    files.mkdir()
    with duckdb.connect() as kernel:
        for part in range(threads_of(master)):
            numbers = f"range({part * rows}, {(part + 1) * rows}, {threads_of(master)}) AS t(i)"
            query = f"SELECT {SHAPES[shape]} FROM {numbers}"
            kernel.sql(f"COPY ({query}) TO '{files}/{part}.parquet' (COMPRESSION 'uncompressed')")
        size = kernel.sql(f"SELECT {SHAPES[shape]} FROM range({min(rows, 10**5)}) AS t(i)")
        row_bytes = size.to_arrow_table().nbytes / min(rows, 10**5)
    count = sum(pq.ParquetFile(path).metadata.num_rows for path in files.glob("*.parquet"))
    conf = {"planner.force_exchanges": "true", "executor.local_dir": str(folder)}
    with fg.connect(master, conf=conf) as session:
        rows_there = session.read_parquet(str(files))
        session.register("stay", rows_there)
        session.register("move", rows_there.repartition(threads_of(master), "k"))
        seconds: dict[str, list[float]] = {"stay": [], "move": []}
        answers = {}
        for _ in range(repeat):
            for relation, taken in seconds.items():
                start = time.perf_counter()
                answers[relation] = session.sql(f"SELECT {_SUMS[shape]} FROM {relation}").collect()
                taken.append(time.perf_counter() - start)
    verdict = "" if answers["stay"].equals(answers["move"]) else "wrong: the sums changed"
    taken_s = median(seconds["move"]) - median(seconds["stay"])
    cores = min(threads_of(master), core_count())
    figures = {"size_bytes": row_bytes * count, "without_exchange_s": median(seconds["stay"])}
    if taken_s > 0:
        figures["per_core_bytes_per_s"] = row_bytes * count / taken_s / cores
    return Measurement(
        f"{shape}, end to end", f"flowgrid {master}", seconds["move"], verdict, figures=figures
    )


def run(rows: int, master: str, repeat: int) -> list[Measurement]:
    with tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        folder = Path(name)
        profiles = [profile(shape, min(rows, PROFILE_ROWS_MAX), folder) for shape in SHAPES]
        return profiles + [end_to_end(shape, rows, master, repeat, folder) for shape in SHAPES]


@click.command("shuffle")
@click.option("--rows", default=20_000_000, show_default=True)
@options.master
@options.repeat(3)
@options.json_file
def command(rows: int, master: str, repeat: int, json_file: Path | None) -> None:
    """All rows to other tasks, numeric ones and strings, with the profile of where the time goes."""
    measurements = run(rows, master, repeat)
    settings = {"rows": rows, "repeat": repeat}
    recording = Recording("shuffle", machine_facts(), settings, measurements)
    options.show(recording, options.console())
    recordings.write(json_file, "shuffle", settings, measurements)
    options.exit_if_wrong(measurements)
