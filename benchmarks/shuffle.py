"""`shuffle`: bytes per second and core from the kernel's rows on one side to the kernel on the other.

`shuffle_profile` runs a task's own steps, each by its processor time. End to end, a cluster does the
same query with and without an exchange of all rows; the difference is the shuffle, with everything that
was overlooked.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path

import click
import duckdb
import pyarrow.parquet as pq

import flowgrid as fg
from benchmarks import options, recordings
from benchmarks.harness import core_count, machine_facts, median
from benchmarks.recordings import Measurement, Recording
from benchmarks.seats import threads_of
from benchmarks.shuffle_profile import SHAPES, SUMS, profile
from benchmarks.tree_watch import TreeWatch

PROFILE_ROWS_MAX = 4_000_000
"""The profile begins with its rows in memory."""


_WARM_CHUNK = bytes(4 << 20)


def warm(folder: Path, size_bytes: int) -> None:
    """Have so much memory at hand for pages of files.

    A virtual machine gives free memory back to its host, and gets each page anew at its first use: nine
    times what it costs to write to it, by who wrote there last and not by what is measured.
    """
    path = folder / "warm"
    with path.open("wb", buffering=0) as file:
        for _ in range(0, size_bytes, len(_WARM_CHUNK)):
            file.write(_WARM_CHUNK)
    path.unlink()


def end_to_end(shape: str, rows: int, master: str, repeat: int, folder: Path) -> Measurement:
    """A cluster's time for the same sums with all rows exchanged, less that without: clock and CPU."""
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
        watch = TreeWatch(os.getpid())
        seconds: dict[str, list[float]] = {"stay": [], "move": []}
        cpu_s: dict[str, list[float]] = {"stay": [], "move": []}
        answers = {}
        for _ in range(repeat):
            for relation, taken in seconds.items():
                warm(folder, round(2 * row_bytes * count))
                start, cpu_start_s = time.perf_counter(), watch.cpu_seconds()
                answers[relation] = session.sql(f"SELECT {SUMS[shape]} FROM {relation}").collect()
                taken.append(time.perf_counter() - start)
                cpu_s[relation].append(watch.cpu_seconds() - cpu_start_s)
    verdict = "" if answers["stay"].equals(answers["move"]) else "wrong: the sums changed"
    taken_s = median(seconds["move"]) - median(seconds["stay"])
    cores = min(threads_of(master), core_count())
    figures = {"size_bytes": row_bytes * count, "without_exchange_s": median(seconds["stay"])}
    if taken_s > 0:
        figures["per_core_bytes_per_s"] = row_bytes * count / taken_s / cores
    if (used_s := median(cpu_s["move"]) - median(cpu_s["stay"])) > 0:
        figures["per_cpu_second_bytes_per_s"] = row_bytes * count / used_s
    name, seat = f"{shape}, end to end", f"flowgrid {master}"
    return Measurement(name, seat, seconds["move"], verdict, cpu_s["move"], figures=figures)


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
