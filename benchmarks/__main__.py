"""`python -m benchmarks <what>`: measure, compare the answers, print, and record as JSON lines."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import chaos, datasets, harness, startup, suite
from benchmarks.tpcds import texts as tpcds
from benchmarks.tpch import texts as tpch

_json = click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Append the figures to this file."
)


@click.group()
def main() -> None:
    """Measure FlowGrid, beside its peers, in one run on the same data and cores."""


def _console() -> Console:
    """As wide as a table needs where no terminal says how wide it is."""
    return Console() if sys.stdout.isatty() else Console(width=200)


def _suite(command: Callable[..., None]) -> Callable[..., None]:
    """The options of a command that runs a suite of SQL queries."""
    for option in (
        _json,
        click.option("--repeat", default=3, show_default=True, type=click.IntRange(min=1)),
        click.option("--queries", default="", help="Such as 1,3,18; all of them if not given."),
        click.option(
            "--against", default="duckdb", show_default=True, help="Peers, or an empty text."
        ),
        click.option("--master", "masters", multiple=True, default=("local",), show_default=True),
        click.option("--scale", default=1.0, show_default=True, help="1 is about 1 GB of text."),
    ):
        command = option(command)
    return command


@main.command("tpch")
@_suite
def tpch_command(scale: float, queries: str, **options: Any) -> None:
    """The 22 TPC-H queries as SQL over Parquet files. Exits with 1 if an answer is wrong."""
    texts = {number: tpch.query_text(number) for number in _numbers(queries, tpch.ALL)}
    _run_suite("TPC-H", datasets.tpch(scale), texts, scale, **options)


@main.command("tpcds")
@_suite
def tpcds_command(scale: float, queries: str, **options: Any) -> None:
    """The 99 TPC-DS queries as SQL over Parquet files. Exits with 1 if an answer is wrong."""
    data = datasets.tpcds(scale)
    texts = {number: tpcds.query_text(number, data) for number in _numbers(queries, tpcds.ALL)}
    _run_suite("TPC-DS", data, texts, scale, **options)


def _numbers(queries: str, everything: Sequence[int]) -> Sequence[int]:
    return [int(number) for number in queries.split(",") if number] or everything


def _run_suite(
    title: str,
    data: Path,
    texts: Mapping[int, str],
    scale: float,
    masters: tuple[str, ...],
    against: str,
    repeat: int,
    json_file: Path | None,
) -> None:
    console = Console()
    peers = [peer for peer in against.split(",") if peer]
    if unknown := set(peers) - {"duckdb"}:
        raise click.UsageError(f"no such peer: {', '.join(sorted(unknown))}; there is duckdb")
    field = suite.contestants(masters, peers)
    results, memory = suite.run(data, field, texts, repeat, console)
    suite.report(title, field, results, memory, console)
    if json_file is not None:
        settings = {"scale": scale, "repeat": repeat, "memory_bytes_max": memory}
        name = title.replace("-", "").lower()
        harness.write_json(json_file, name, settings, [result.line() for result in results])
    if any(result.verdict for result in results):
        raise SystemExit(1)


@main.command("startup")
@click.option("--repeat", default=9, show_default=True, type=click.IntRange(min=1))
@_json
def startup_command(repeat: int, json_file: Path | None) -> None:
    """First result and import time of a fresh process, against DuckDB and pyarrow alone."""
    seconds = startup.run(repeat)
    startup.report(seconds, _console())
    if json_file is not None:
        runs = [{"program": name, "seconds": runs} for name, runs in seconds.items()]
        harness.write_json(json_file, "startup", {"repeat": repeat}, runs)


@main.command("chaos")
@click.option("--minutes", default=1.0, show_default=True)
@click.option("--scale", default=0.2, show_default=True, help="1 is about 1 GB of text.")
@click.option("--seed", type=int, help="Of what is run and what is killed; random if not given.")
@click.option("--spare", multiple=True, type=click.Choice([*chaos.WEIGHTS]), help="Never killed.")
@_json
def chaos_command(
    minutes: float, scale: float, seed: int | None, spare: tuple[str, ...], json_file: Path | None
) -> None:
    """Kill processes at random while jobs run. Exits with 1 for a wrong answer, a hang or litter."""
    seed = random.randrange(1 << 32) if seed is None else seed
    click.echo(f"seed {seed}")
    kinds = tuple(kind for kind in chaos.WEIGHTS if kind not in spare)
    tally = chaos.run(datasets.tpch(scale), 60 * minutes, seed, kinds, click.echo)
    for line in tally.lines():
        click.echo(line)
    if json_file is not None:
        settings = {"minutes": minutes, "scale": scale, "seed": seed, "spare": spare}
        harness.write_json(json_file, "chaos", settings, [tally.figures()])
    if tally.problems.total():
        raise SystemExit(1)


if __name__ == "__main__":
    main()
