"""`compare BEFORE AFTER`: what became slower between two recordings.

Seconds of two runs cannot be compared on a machine that others use. What can is how FlowGrid stood to
somebody who took turns with it in the same run: so each figure is taken as a multiple of DuckDB's of
that run, where it took part, or of what else has nothing of ours in it. Whether a peer became slower
is its own affair.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks import options, recordings
from benchmarks.peers import PEERS
from benchmarks.recordings import Measurement
from benchmarks.tables import Grid

Cell = tuple[str, str, str]

YARDSTICKS = ("duckdb", "pyarrow", "plain")
"""First words of those that the figures of a run are multiples of."""


@dataclass(frozen=True)
class Change:
    """How a figure changed; a factor above 1 is slower."""

    benchmark: str
    case: str
    contestant: str
    before: float
    after: float

    @property
    def factor(self) -> float:
        return self.after / self.before


def changes(before: Path, after: Path) -> list[Change]:
    """For all of ours that both recordings measured and neither got wrong."""
    old, new = _figures(before), _figures(after)
    return [Change(*cell, old[cell], new[cell]) for cell in old if cell in new and old[cell] > 0]


def _figures(path: Path) -> dict[Cell, float]:
    """Median seconds, as a multiple of the yardstick's where there was one."""
    figures: dict[Cell, float] = {}
    for recording in recordings.read([path]):
        measured = [(one, s) for one in recording.measurements if (s := one.median_s) is not None]
        yardstick = {one.case: s for one, s in measured if _is_one_of(YARDSTICKS, one)}
        for one, seconds in measured:
            if not _is_one_of((*YARDSTICKS, *PEERS), one):
                cell = (recording.title, one.case, one.contestant)
                figures[cell] = seconds / yardstick.get(one.case, 1.0)
    return figures


def _is_one_of(names: Collection[str], one: Measurement) -> bool:
    return one.contestant.split()[0] in names


@click.command("compare")
@click.argument("before", type=click.Path(exists=True, path_type=Path))
@click.argument("after", type=click.Path(exists=True, path_type=Path))
@click.option("--threshold", default=0.10, show_default=True, help="0.1: 10 % slower is too much.")
def command(before: Path, after: Path, threshold: float) -> None:
    """Show what changed between two recordings. Exits with 1 if something became slower."""
    found = sorted(changes(before, after), key=lambda change: -change.factor)
    if not found:
        raise click.ClickException("the two recordings have nothing in common")
    slower = [change for change in found if change.factor > 1 + threshold]
    shown = slower + [change for change in found if change.factor < 1 - threshold]
    rows = [
        [
            f"{c.benchmark} {c.case}, {c.contestant}",
            f"{c.before:.3f}",
            f"{c.after:.3f}",
            f"{c.factor:.2f}",
        ]
        for c in shown
    ]
    Grid(
        "changes (as multiples of DuckDB in the same run)", ["", "before", "after", "factor"], rows
    ).print(options.console())
    click.echo(f"{len(slower)} of {len(found)} slower by more than {threshold:.0%}")
    if slower:
        raise SystemExit(1)
