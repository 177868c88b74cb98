"""What a user waits for before anything is computed: fresh processes, in turn, by medians."""

from __future__ import annotations

import subprocess
import sys
import time

from rich.console import Console
from rich.table import Table

from benchmarks.harness import interleaved, median

PROGRAMS = {
    "duckdb: first result": "import pyarrow, duckdb; duckdb.sql('select 1').fetchall()",
    "flowgrid: first result": (
        "import flowgrid as fg\nwith fg.connect() as session: session.sql('select 1').collect()"
    ),
    "import pyarrow": "import pyarrow",
    "import flowgrid": "import flowgrid",
}

RATIOS = (
    ("first result", "flowgrid: first result", "duckdb: first result"),
    ("import", "import flowgrid", "import pyarrow"),
)


def run(repeat: int) -> dict[str, list[float]]:
    """Seconds of `repeat` fresh processes for each program, from start to exit."""
    measures = {name: lambda text=text: _fresh_process(text) for name, text in PROGRAMS.items()}
    interleaved(measures, 1)  # the file cache is warm for everybody
    return interleaved(measures, repeat)


def report(seconds: dict[str, list[float]], console: Console) -> None:
    table = Table(title="Start-up of a fresh process (medians)", title_justify="left")
    for heading in ("", "seconds", "lowest", "highest"):
        table.add_column(heading, justify="left" if not heading else "right")
    for name, runs in seconds.items():
        table.add_row(name, *(f"{value:.3f}" for value in (median(runs), min(runs), max(runs))))
    console.print(table)
    for what, ours, theirs in RATIOS:
        ratio = median(seconds[ours]) / median(seconds[theirs])
        console.print(f"{what}: {ours} takes {ratio:.2f} × {theirs}", highlight=False)


def _fresh_process(program: str) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", program], check=True)
    return time.perf_counter() - start
