"""Options that several commands have, and what they print on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import click
from rich.console import Console

from benchmarks import tables
from benchmarks.recordings import Measurement, Recording

Command = TypeVar("Command", bound=Callable[..., Any])

json_file = click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Append the figures to this file."
)
masters = click.option("--master", "masters", multiple=True, default=("local",), show_default=True)
master = click.option("--master", default="local-cluster[2,1,4096]", show_default=True)
against = click.option(
    "--against",
    default="duckdb",
    show_default=True,
    help="Peers, such as duckdb,pyspark; or installed; or an empty text.",
)
timeout_s = click.option(
    "--timeout", "timeout_s", default=600.0, show_default=True, help="Seconds one answer may take."
)


def repeat(default: int) -> Callable[[Command], Command]:
    """Of how many runs the median is taken."""
    return click.option("--repeat", default=default, show_default=True, type=click.IntRange(min=1))


def console() -> Console:
    """As wide as a table needs where no terminal says how wide it is."""
    return Console() if sys.stdout.isatty() else Console(width=200)


def show(recording: Recording, console: Console) -> None:
    """Print all that was measured, and what was not right."""
    for grid in tables.grids(recording):
        grid.print(console)
    show_complaints(recording, console)


def show_complaints(recording: Recording, console: Console) -> None:
    for complaint in tables.complaints(recording):
        console.print(complaint, style="red", highlight=False, markup=False)


def exit_if_wrong(measurements: Iterable[Measurement]) -> None:
    """Exits with 1 if FlowGrid did something wrong; what becomes of peers is only reported."""
    if any(m.verdict and m.contestant.startswith("flowgrid") for m in measurements):
        raise SystemExit(1)
