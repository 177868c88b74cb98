"""`memory`: the same queries with less and less memory. Who finishes, inside of what he was given?

Each contestant is told its limit, and its processes are sampled: who uses more than a tenth above it is
ended. FlowGrid's are its executors with their slots, whose memory the operator sets; driver and
scheduler come on top. That is harder than a cgroup for what ends late, and the same for everybody: pages
of mapped files do not count, and a peak between two samples is not seen. A cgroup would see it, but who
may make one differs from machine to machine.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks import datasets, options, recordings, suite
from benchmarks.harness import core_count, machine_facts
from benchmarks.peers import chosen, versions
from benchmarks.recordings import Measurement, Recording
from benchmarks.seats import Contestant, Limits, threads_of
from benchmarks.suite import Case
from benchmarks.tables import MISSING, Grid
from benchmarks.tpch import texts as tpch

TOLERANCE = 0.10

SELF_JOIN = Case(
    "self-join",
    "memory/self-join",
    "SELECT count(*) AS groups, sum(pairs) AS pairs, max(total) AS dearest, max(apart) AS apart FROM ("
    "SELECT a.l_orderkey, count(*) AS pairs, sum(a.l_extendedprice + b.l_extendedprice) AS total,"
    " max(a.l_partkey - b.l_partkey) AS apart"
    " FROM lineitem AS a JOIN lineitem AS b ON a.l_orderkey = b.l_orderkey"
    " GROUP BY a.l_orderkey) AS by_order",
)
"""Every pair of lines of an order: at SF10 some 300 million, over 10 GB of rows."""


def field_at(memory_mib: int, executors: int, against: Sequence[str]) -> list[Contestant]:
    master = f"local-cluster[{executors},1,{memory_mib // executors}]"
    ours = Contestant("flowgrid", threads_of(master), master)
    return [ours, *(Contestant(peer, executors) for peer in against)]


def grid(recording: Recording) -> Grid:
    """A row per contestant and step: how many queries it got right, and the most that it used."""
    rows = []
    for step in recording.settings["memory_mib"]:
        names = dict.fromkeys(m.contestant for m in recording.measurements)
        for name in names:
            found = [
                m
                for m in recording.measurements
                if m.contestant == name and m.figures["limit_bytes"] == step << 20
            ]
            if not found:
                continue
            asked = [m for m in found if m.verdict != "cannot"]
            right = [m for m in asked if not m.verdict]
            peak = max(m.memory_bytes_max for m in found)
            seconds = sum(m.median_s or 0.0 for m in right)
            cells = [f"{len(right)} of {len(asked)}", f"{peak / 2**20:,.0f} MiB", f"{seconds:.1f}"]
            rows.append([f"{step:,} MiB, {name}", *(cells if asked else [MISSING] * 3)])
    return Grid("memory staircase", ["", "right", "peak memory", "seconds of these"], rows)


@click.command("memory")
@click.option("--scale", default=10.0, show_default=True)
@click.option("--steps", default="8192,4096,2048,1024", show_default=True, help="MiB in total.")
@click.option("--executors", default=core_count(), show_default=True)
@click.option("--queries", default="", help="Such as 1,3,18; all of them if not given.")
@options.against
@options.timeout_s
@options.json_file
def command(
    scale: float,
    steps: str,
    executors: int,
    queries: str,
    against: str,
    timeout_s: float,
    json_file: Path | None,
) -> None:
    """TPC-H and a self-join with 8, 4, 2 and 1 GiB. Exits with 1 if FlowGrid does not finish."""
    numbers: Sequence[int] = [int(n) for n in queries.split(",") if n] or tpch.ALL
    cases = [Case(f"Q{n}", f"tpch/{n}", tpch.query_text(n)) for n in numbers]
    console = options.console()
    tables = datasets.tables_in(datasets.tpch(scale))
    ladder = [int(step) for step in steps.split(",")]
    peers = chosen(against)
    measurements: list[Measurement] = []
    for step in ladder:
        field = field_at(step, executors, peers)
        limits = Limits(timeout_s, step << 20, int((step << 20) * (1 + TOLERANCE)))
        found = suite.run(tables, field, [*cases, SELF_JOIN], 1, limits, console)
        for one in found:
            one.figures["limit_bytes"] = step << 20
        measurements += found
    settings = {
        "scale": scale,
        "memory_mib": ladder,
        "executors": executors,
        "versions": versions(peers),
    }
    recording = Recording("memory", machine_facts(), settings, measurements)
    grid(recording).print(console)
    options.show_complaints(recording, console)
    recordings.write(json_file, "memory", settings, measurements)
    options.exit_if_wrong(measurements)
