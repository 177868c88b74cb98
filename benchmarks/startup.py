"""What a user waits for before anything is computed: fresh processes, in turn, by medians.

Each program checks its own answers, so that one that answers wrongly ends the benchmark.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import click

from benchmarks import options, recordings
from benchmarks.harness import interleaved, machine_facts, median
from benchmarks.recordings import Measurement, Recording

FURTHER = "a further query"

_TIMED = """
 for _ in range(10): ask()
 start = time.perf_counter()
 for _ in range(200): ask()
 print((time.perf_counter() - start) / 200)
"""
"""What one of many queries takes in a session that is warm: printed, because a process does more."""

PROGRAMS = {
    ("first result", "flowgrid"): (
        "import flowgrid as fg\nwith fg.connect() as session:\n"
        " assert session.sql('select 1').collect()[0].to_pylist() == [1]"
    ),
    ("first result", "pyarrow and duckdb"): (
        "import pyarrow, duckdb; assert duckdb.sql('select 1').fetchall() == [(1,)]"
    ),
    ("import", "flowgrid"): "import flowgrid",
    ("import", "pyarrow"): "import pyarrow",
    (FURTHER, "flowgrid"): (
        "import time, flowgrid as fg\nwith fg.connect() as session:\n"
        f" def ask(): assert session.sql('select 1').collect()[0].to_pylist() == [1]{_TIMED}"
    ),
    (FURTHER, "pyarrow and duckdb"): (
        "import time, duckdb\nwith duckdb.connect() as session:\n"
        " def ask(): assert session.sql('select 1').to_arrow_table()[0].to_pylist() == [1]"
        f"{_TIMED}"
    ),
}
"""What is waited for, and who runs what: ours first, then what has nothing of ours in it."""


def run(repeat: int) -> list[Measurement]:
    """`repeat` fresh processes of each program, and how much longer ours take than the other's."""
    measures = {f"{what}: {who}": partial(_seconds, what, who) for what, who in PROGRAMS}
    interleaved(measures, 1)  # the file cache is warm for everybody
    taken = interleaved(measures, repeat)
    seconds = dict(zip(PROGRAMS, taken.values(), strict=True))
    theirs = {what: median(seconds[what, who]) for what, who in PROGRAMS}  # the last of each
    return [
        Measurement(what, who, found, figures=_against(median(found), theirs[what]))
        for (what, who), found in seconds.items()
    ]


def _against(ours_s: float, theirs_s: float) -> dict[str, float]:
    return {"times_the_other": ours_s / theirs_s, "beyond_the_other_s": ours_s - theirs_s}


@click.command("startup")
@options.repeat(9)
@options.json_file
def command(repeat: int, json_file: Path | None) -> None:
    """First result and import time of a fresh process, against DuckDB and pyarrow alone."""
    measurements = run(repeat)
    settings = {"repeat": repeat}
    recording = Recording("startup", machine_facts(), settings, measurements)
    options.show(recording, options.console())
    recordings.write(json_file, "startup", settings, measurements)


def _seconds(what: str, who: str) -> float:
    # Everybody's modules are compiled, as an installation leaves them: the first round sees to it.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    command = [sys.executable, "-c", PROGRAMS[what, who]]
    start = time.perf_counter()
    done = subprocess.run(command, check=True, env=environment, stdout=subprocess.PIPE)
    seconds = time.perf_counter() - start
    return float(done.stdout) if what == FURTHER else seconds
