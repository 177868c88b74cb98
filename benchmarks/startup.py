"""What a user waits for before anything is computed: fresh processes, in turn, by medians."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import click

from benchmarks import options, recordings
from benchmarks.harness import interleaved, machine_facts, median
from benchmarks.recordings import Measurement, Recording

PROGRAMS = {
    "duckdb": "import pyarrow, duckdb; duckdb.sql('select 1').fetchall()",
    "flowgrid": (
        "import flowgrid as fg\nwith fg.connect() as session: session.sql('select 1').collect()"
    ),
    "import pyarrow": "import pyarrow",
    "import flowgrid": "import flowgrid",
}

RATIOS = (
    ("first result", "flowgrid", "duckdb"),
    ("import", "import flowgrid", "import pyarrow"),
)


def run(repeat: int) -> dict[str, list[float]]:
    """Seconds of `repeat` fresh processes for each program, from start to exit."""
    measures = {name: lambda text=text: _fresh_process(text) for name, text in PROGRAMS.items()}
    interleaved(measures, 1)  # the file cache is warm for everybody
    return interleaved(measures, repeat)


@click.command("startup")
@options.repeat(9)
@options.json_file
def command(repeat: int, json_file: Path | None) -> None:
    """First result and import time of a fresh process, against DuckDB and pyarrow alone."""
    seconds = run(repeat)
    measurements = [
        Measurement(what, program, seconds[program]) for what, *pair in RATIOS for program in pair
    ]
    console = options.console()
    for what, ours, theirs in RATIOS:
        ratio = median(seconds[ours]) / median(seconds[theirs])
        console.print(f"{what}: {ours} takes {ratio:.2f} × {theirs}", highlight=False)
    options.show(Recording("startup", machine_facts(), {"repeat": repeat}, measurements), console)
    recordings.write(json_file, "startup", {"repeat": repeat}, measurements)


def _fresh_process(program: str) -> float:
    # Everybody's modules are compiled, as an installation leaves them: the first round sees to it.
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True, env=environment)
    return time.perf_counter() - start
