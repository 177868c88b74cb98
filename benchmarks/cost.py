"""`cost`: with how many slots does FlowGrid beat DuckDB on one thread? For some queries, never.

The question is McSherry's, Isard's and Murray's ("Scalability! But at what COST?", 2015): a system that
scales well may do so by being slow on one core.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import click

from benchmarks import datasets, options, recordings, suite
from benchmarks.harness import core_count, machine_facts
from benchmarks.recordings import Recording
from benchmarks.seats import Contestant, Limits
from benchmarks.suite import Case
from benchmarks.tables import MISSING, Grid
from benchmarks.tpch import texts as tpch


def field_of(slots_max: int, memory_mib: int) -> dict[int, Contestant]:
    """FlowGrid by its count of slots: an executor each, on as many cores."""
    return {
        slots: Contestant("flowgrid", slots, f"local-cluster[{slots},1,{memory_mib}]")
        for slots in range(1, slots_max + 1)
    }


def cost_of(seconds_by_slots: Mapping[int, float | None], one_thread_s: float | None) -> int | None:
    """The fewest slots that beat one thread; None is never, as far as was tried."""
    if one_thread_s is None:
        return None
    beats = (
        slots
        for slots, seconds in sorted(seconds_by_slots.items())
        if seconds is not None and seconds < one_thread_s
    )
    return next(beats, None)


def grid(recording: Recording) -> Grid:
    """A row per query: the seconds of each width, DuckDB's on one thread, and the COST."""
    *ours, peer = recording.contestants()
    cells = recording.by_cell()
    rows = []
    for case in recording.cases():
        seconds = {slots: cells[case, name].median_s for slots, name in enumerate(ours, 1)}
        theirs = cells[case, peer].median_s
        cost = cost_of(seconds, theirs)
        shown = [MISSING if one is None else f"{one:.3f}" for one in (*seconds.values(), theirs)]
        rows.append([case, *shown, "never" if cost is None else str(cost)])
    headings = ["", *(f"{slots} slots" for slots in range(1, len(ours) + 1)), peer, "COST"]
    return Grid(f"COST up to {len(ours)} slots", headings, rows)


@click.command("cost")
@click.option("--scale", default=1.0, show_default=True)
@click.option("--queries", default="", help="Such as 1,3,18; all of them if not given.")
@click.option("--slots", type=click.IntRange(min=1), help="As many as there are cores by default.")
@options.repeat(3)
@options.json_file
def command(
    scale: float, queries: str, slots: int | None, repeat: int, json_file: Path | None
) -> None:
    """The slots with which FlowGrid beats DuckDB on one thread, per TPC-H query."""
    slots = slots or core_count()
    numbers: Sequence[int] = [int(n) for n in queries.split(",") if n] or tpch.ALL
    cases = [Case(f"Q{n}", f"tpch/{n}", tpch.query_text(n)) for n in numbers]
    memory_mib = (os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20) // (2 * slots)
    field = [*field_of(slots, memory_mib).values(), Contestant("duckdb", 1)]
    console = options.console()
    tables = datasets.tables_in(datasets.tpch(scale))
    measurements = suite.run(tables, field, cases, repeat, Limits(), console)
    settings = {"scale": scale, "repeat": repeat, "slots": slots}
    recording = Recording("cost", machine_facts(), settings, measurements)
    grid(recording).print(console)
    options.show_complaints(recording, console)
    recordings.write(json_file, "cost", settings, measurements)
    options.exit_if_wrong(measurements)
