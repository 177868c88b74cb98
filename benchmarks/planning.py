"""How long planning takes: from the text of a query to the stages that are submitted first.

Nothing runs. Each query is planned once before, so that the statistics of its tables are known, and
small inputs, which would be one task, are planned like large ones.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import click

from benchmarks import datasets, options, recordings
from benchmarks.harness import machine_facts
from benchmarks.recordings import Measurement, Recording
from benchmarks.tpcds import texts as tpcds
from benchmarks.tpch import texts as tpch
from flowgrid.api.reading import read_parquet
from flowgrid.api.sql import bind
from flowgrid.config import Config
from flowgrid.logical.nodes import GivenTable, Node
from flowgrid.logical.schema import schema_of
from flowgrid.physical.layout import Shape
from flowgrid.physical.planner import Planner
from flowgrid.physical.shortcut import prepared
from flowgrid.protocol.job_graph import StageSpec

SUITES = {"tpch": tpch.ALL, "tpcds": tpcds.ALL}


@click.command("planning")
@click.option("--suite", "suites", multiple=True, type=click.Choice(list(SUITES)), default=SUITES)
@click.option("--scale", default=1.0, show_default=True, help="1 is about 1 GB of text.")
@click.option("--queries", default="", help="Such as 1,3,18; all of them if not given.")
@click.option("--slots", default=2, show_default=True, help="Of the cluster that is planned for.")
@options.repeat(5)
@options.json_file
def command(
    suites: tuple[str, ...],
    scale: float,
    queries: str,
    slots: int,
    repeat: int,
    json_file: Path | None,
) -> None:
    """Seconds from a query's text to its first stages, by median, in this process alone."""
    shape = Shape(slots, Config.parse({"planner.single_task_bytes_max": 0}))
    console = options.console()
    measurements = []
    for name in suites:
        numbers = [int(number) for number in queries.split(",") if number] or SUITES[name]
        measurements += run(name, scale, numbers, shape, repeat)
    settings = {"scale": scale, "slots": slots, "repeat": repeat}
    options.show(Recording("planning", machine_facts(), settings, measurements), console)
    for name in suites:
        of_suite = [m for m in measurements if m.case.startswith(name)]
        slowest = max(of_suite, key=lambda m: m.median_s or 0.0)
        console.print(
            f"slowest: {slowest.case}, {1e3 * (slowest.median_s or 0.0):.1f} ms", highlight=False
        )
    recordings.write(json_file, "planning", settings, measurements)


def run(
    suite: str, scale: float, numbers: tuple[int, ...] | list[int], shape: Shape, repeat: int
) -> list[Measurement]:
    """Each query `repeat` times, and once before that does not count."""
    data = datasets.tpch(scale) if suite == "tpch" else datasets.tpcds(scale)
    tables = {name: read_parquet(str(path), {}) for name, path in datasets.tables_in(data).items()}
    measurements = []
    for number in numbers:
        text = tpch.query_text(number) if suite == "tpch" else tpcds.query_text(number, data)
        plan_first_stages(text, tables, shape)
        seconds, cpu_seconds = [], []
        for _ in range(repeat):
            start, cpu_start = time.perf_counter(), time.process_time()
            plan_first_stages(text, tables, shape)
            seconds.append(time.perf_counter() - start)
            cpu_seconds.append(time.process_time() - cpu_start)
        measurements.append(
            Measurement(
                f"{suite} Q{number}",
                "flowgrid",
                seconds,
                "",
                cpu_seconds,
                figures={"longest_s": max(seconds)},
            )
        )
    return measurements


def plan_first_stages(text: str, tables: Mapping[str, Node], shape: Shape) -> tuple[StageSpec, ...]:
    """What an engine does before it submits."""
    relation = bind(text, tables)
    schema_of(relation)
    known = prepared(relation, shape)
    return Planner(known.plan, known.shape, _nothing_given, note=known.note).advance().stages


def _nothing_given(number: int, node: GivenTable) -> StageSpec:
    raise AssertionError("the tables of the suites are files")
