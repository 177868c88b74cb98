"""`sort`: records of 100 bytes with keys of 10, as GraySort has them, and a pass that checks the output.

The pass reads every file that was written, by the order of names: keys must not fall, within a file
and from one to the next, and there must be the same records as before, by their count and the sum of
their checksums. Input and output are not compressed: random bytes only take time to find that out.
"""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import flowgrid as fg
from benchmarks import datasets, options, recordings
from benchmarks.harness import core_count, machine_facts
from benchmarks.recordings import Measurement, Recording
from benchmarks.seats import threads_of
from benchmarks.tree_watch import TreeWatch

KEY_BYTES, RECORD_BYTES = 10, 100
_RECORDS_PER_FILE = 2_000_000
_RECORDS_PER_BATCH = 100_000


@dataclass(frozen=True)
class Contents:
    """What must be the same before and after, and how many times a key was lower than its elder."""

    records: int
    checksum: int
    falls: int


def records(count: int, cache: Path = datasets.CACHE) -> Path:
    """A folder of Parquet files with so many random records; made if it is not there."""

    def make(directory: Path) -> None:
        directory.mkdir()
        dice = np.random.default_rng(count)
        for number, start in enumerate(range(0, count, _RECORDS_PER_FILE)):
            size = min(_RECORDS_PER_FILE, count - start)
            path = directory / f"records-{number:04d}.parquet"
            with pq.ParquetWriter(
                path, _schema(), compression="none", use_dictionary=False
            ) as file:
                for at in range(0, size, _RECORDS_PER_BATCH):
                    file.write_batch(_random_batch(dice, min(_RECORDS_PER_BATCH, size - at)))

    return datasets.made_once(cache / f"records-{count}", make)


def _schema() -> pa.Schema:
    return pa.schema({"key": pa.binary(), "payload": pa.binary()})


def _random_batch(dice: np.random.Generator, count: int) -> pa.RecordBatch:
    columns = [
        pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(width), count, [None, pa.py_buffer(dice.bytes(count * width))]
        ).cast(pa.binary())
        for width in (KEY_BYTES, RECORD_BYTES - KEY_BYTES)
    ]
    return pa.record_batch(columns, schema=_schema())


def contents_of(folder: Path) -> Contents:
    """Read all files of a folder in the order of their names, and nothing twice."""
    count = checksum = falls = 0
    last = b""
    for batch in _batches(folder):
        keys = batch["key"].to_pylist()
        payloads = batch["payload"].to_pylist()
        for key, payload in zip(keys, payloads, strict=True):
            falls += key < last
            last = key
            checksum += zlib.crc32(payload, zlib.crc32(key))
        count += len(keys)
    return Contents(count, checksum, falls)


def _batches(folder: Path) -> Iterator[pa.RecordBatch]:
    for path in sorted(folder.glob("*.parquet")):
        yield from pq.ParquetFile(path).iter_batches(_RECORDS_PER_BATCH, columns=["key", "payload"])


def run(count: int, master: str, cache: Path = datasets.CACHE) -> Measurement:
    """Sort so many records from files to files, and check what was written."""
    source = records(count, cache)
    output = Path(tempfile.mkdtemp(dir=cache, prefix="sorted-"))
    local = Path(tempfile.mkdtemp(dir=cache, prefix="spill-"))
    conf = {"executor.local_dir": local}
    try:
        with fg.connect(master, conf=conf) as session, TreeWatch(os.getpid(), local) as watch:
            start, cpu_s = time.perf_counter(), watch.cpu_seconds()
            in_order = session.read_parquet(str(source)).sort("key")
            in_order.write_parquet(str(output / "sorted"), compression="none")
            seconds = time.perf_counter() - start
            cpu_s = watch.cpu_seconds() - cpu_s
        before, after = contents_of(source), contents_of(output / "sorted")
    finally:
        for folder in (output, local):
            shutil.rmtree(folder)
    verdict = ""
    if (before.records, before.checksum) != (after.records, after.checksum):
        verdict = f"wrong: {before} became {after}"
    elif after.falls:
        verdict = f"wrong: {after.falls} keys are lower than the one before"
    cores = min(threads_of(master), core_count())
    figures = {"sorted_bytes_per_s": count * RECORD_BYTES / seconds}
    figures["per_core_bytes_per_s"] = figures["sorted_bytes_per_s"] / cores
    return Measurement(
        f"{count:,} records",
        f"flowgrid {master}",
        [seconds],
        verdict,
        [cpu_s],
        watch.bytes_max,
        watch.disk_bytes_max,
        figures,
    )


@click.command("sort")
@click.option("--megabytes", default=1000, show_default=True, help="20000 is what is promised.")
@options.master
@options.json_file
def command(megabytes: int, master: str, json_file: Path | None) -> None:
    """Sort 100-byte records from files to files. Exits with 1 if the output is not sorted or whole."""
    measurement = run(megabytes * 10**6 // RECORD_BYTES, master)
    settings = {"megabytes": megabytes}
    recording = Recording("sort", machine_facts(), settings, [measurement])
    options.show(recording, options.console())
    recordings.write(json_file, "sort", settings, [measurement])
    options.exit_if_wrong([measurement])
