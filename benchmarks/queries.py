"""`tpch` and `tpcds`: the queries of the two suites as SQL over Parquet files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks import chart, datasets, options, recordings, suite
from benchmarks.harness import machine_facts
from benchmarks.peers import chosen, versions
from benchmarks.seats import Limits
from benchmarks.suite import Case
from benchmarks.tpcds import texts as tpcds
from benchmarks.tpch import texts as tpch


def _suite(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a command that runs a suite of SQL queries."""
    for option in (
        options.json_file,
        click.option(
            "--chart", "chart_file", type=click.Path(path_type=Path), help="Draw it as SVG or PNG."
        ),
        options.timeout_s,
        options.repeat(3),
        click.option("--queries", default="", help="Such as 1,3,18; all of them if not given."),
        options.against,
        options.masters,
        click.option("--scale", default=1.0, show_default=True, help="1 is about 1 GB of text."),
    ):
        command = option(command)
    return command


@click.command("tpch")
@_suite
def tpch_command(scale: float, queries: str, **rest: Any) -> None:
    """The 22 TPC-H queries. Exits with 1 if an answer of FlowGrid is wrong."""
    texts = {number: tpch.query_text(number) for number in _numbers(queries, tpch.ALL)}
    run("tpch", datasets.tpch(scale), texts, scale, **rest)


@click.command("tpcds")
@_suite
def tpcds_command(scale: float, queries: str, **rest: Any) -> None:
    """The 99 TPC-DS queries. Exits with 1 if an answer of FlowGrid is wrong."""
    data = datasets.tpcds(scale)
    texts = {number: tpcds.query_text(number, data) for number in _numbers(queries, tpcds.ALL)}
    run("tpcds", data, texts, scale, **rest)


def _numbers(queries: str, everything: Sequence[int]) -> Sequence[int]:
    return [int(number) for number in queries.split(",") if number] or everything


def run(
    benchmark: str,
    data: Path,
    texts: Mapping[int, str],
    scale: float,
    masters: tuple[str, ...],
    against: str,
    repeat: int,
    timeout_s: float,
    json_file: Path | None,
    chart_file: Path | None,
) -> None:
    """Measure, print, record, draw; raises `SystemExit` for a wrong answer of FlowGrid."""
    console = options.console()
    peers = chosen(against)
    field = suite.contestants(masters, peers)
    cases = [Case(f"Q{number}", f"{benchmark}/{number}", sql) for number, sql in texts.items()]
    settings = {
        "scale": scale,
        "repeat": repeat,
        "masters": masters,
        "versions": versions(peers),
        "cases": len(cases),
    }
    record = recordings.begin(json_file, benchmark, settings)
    measurements = suite.run(
        datasets.tables_in(data), field, cases, repeat, Limits(timeout_s), console, record
    )
    recording = recordings.Recording(benchmark, machine_facts(), settings, measurements)
    options.show(recording, console)
    if chart_file is not None:
        chart.draw(recording, chart_file)
    options.exit_if_wrong(measurements)
