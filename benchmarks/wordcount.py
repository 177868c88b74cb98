"""`wordcount`: a Python function over lines of text, and a count by word; beside plain Python.

What is measured is how much of the time Python's own work is: the peer is a loop in one process.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import click
import pyarrow as pa

import flowgrid as fg
from benchmarks import datasets, options, recordings
from benchmarks.harness import interleaved, machine_facts
from benchmarks.recordings import Measurement, Recording

WORDS = 50_000
_SEED = 5


def text_file(megabytes: int, cache: Path = datasets.CACHE) -> Path:
    """Lines of ten words, some words much more frequent than others; made if it is not there."""

    def make(directory: Path) -> None:
        directory.mkdir()
        dice = random.Random(_SEED)
        with (directory / "text.txt").open("w", encoding="ascii") as file:
            written = 0
            while written < megabytes * 10**6:
                ranks = (int(WORDS ** dice.random()) for _ in range(10))
                written += file.write(" ".join(f"word{rank}" for rank in ranks) + "\n")

    return datasets.made_once(cache / f"text-{megabytes}", make) / "text.txt"


def words_of(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The user's function: Python objects on purpose, no kernel."""
    words = [word for line in batch["value"].to_pylist() for word in line.split()]
    return pa.record_batch({"word": words})


def in_plain_python(path: Path) -> dict[str, int]:
    counts: Counter[str] = Counter()
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            counts.update(line.split())
    return counts


@contextmanager
def in_flowgrid(master: str) -> Iterator[Callable[[Path], dict[str, int]]]:
    with fg.connect(master) as session:

        def count(path: Path) -> dict[str, int]:
            words = session.read_text(str(path)).map_batches(
                words_of, schema=pa.schema({"word": pa.string()})
            )
            table = words.group_by("word").agg(fg.count().alias("n")).collect()
            return dict(zip(table["word"].to_pylist(), table["n"].to_pylist(), strict=True))

        yield count


def run(path: Path, master: str, repeat: int) -> list[Measurement]:
    """FlowGrid and a loop, in turn; each must count the same."""
    with in_flowgrid(master) as count:
        counters = {f"flowgrid {master}": count, "plain Python, one process": in_plain_python}
        counts: dict[str, dict[str, int]] = {}

        def timed(name: str) -> float:
            start = time.perf_counter()
            counts[name] = counters[name](path)
            return time.perf_counter() - start

        seconds = interleaved({name: partial(timed, name) for name in counters}, repeat)
    verdict = "" if len({frozenset(found.items()) for found in counts.values()}) == 1 else "wrong"
    size = path.stat().st_size
    return [
        Measurement(
            "wordcount", name, taken, verdict, figures={"text_bytes_per_s": size / min(taken)}
        )
        for name, taken in seconds.items()
    ]


@click.command("wordcount")
@click.option("--megabytes", default=200, show_default=True)
@options.master
@options.repeat(3)
@options.json_file
def command(megabytes: int, master: str, repeat: int, json_file: Path | None) -> None:
    """Python functions over text. Exits with 1 if a count is wrong."""
    measurements = run(text_file(megabytes), master, repeat)
    settings = {"megabytes": megabytes, "repeat": repeat}
    recording = Recording("wordcount", machine_facts(), settings, measurements)
    options.show(recording, options.console())
    recordings.write(json_file, "wordcount", settings, measurements)
    options.exit_if_wrong(measurements)
