"""`python -m benchmarks <what>`: measure, compare the answers, print, and record as JSON lines."""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from benchmarks import datasets, harness, startup
from benchmarks.tpch import run as tpch

_json = click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Append the figures to this file."
)


@click.group()
def main() -> None:
    """Measure FlowGrid, beside its peers, in one run on the same data and cores."""


def _console() -> Console:
    """As wide as a table needs where no terminal says how wide it is."""
    return Console() if sys.stdout.isatty() else Console(width=200)


@main.command("tpch")
@click.option("--scale", default=1.0, show_default=True, help="1 is about 1 GB of text.")
@click.option("--master", "masters", multiple=True, default=("local",), show_default=True)
@click.option("--against", default="duckdb", show_default=True, help="Peers, or an empty text.")
@click.option("--queries", default="", help="Such as 1,3,18; all of them if not given.")
@click.option("--repeat", default=3, show_default=True, type=click.IntRange(min=1))
@_json
def tpch_command(
    scale: float,
    masters: tuple[str, ...],
    against: str,
    queries: str,
    repeat: int,
    json_file: Path | None,
) -> None:
    """The 22 TPC-H queries as SQL over Parquet files. Exits with 1 if an answer is wrong."""
    console = _console()
    numbers = [int(number) for number in queries.split(",") if number] or list(tpch.ALL)
    peers = [peer for peer in against.split(",") if peer]
    if unknown := set(peers) - {"duckdb"}:
        raise click.UsageError(f"no such peer: {', '.join(sorted(unknown))}; there is duckdb")
    field = tpch.contestants(masters, peers)
    results, memory = tpch.run(datasets.tpch(scale), field, numbers, repeat, console)
    tpch.report(field, results, memory, console)
    if json_file is not None:
        settings = {"scale": scale, "repeat": repeat, "memory_bytes_max": memory}
        harness.write_json(json_file, "tpch", settings, [result.line() for result in results])
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


if __name__ == "__main__":
    main()
