"""`report FILES`: recorded runs as the part of a README that tells how fast it is.

What stands between the two markers of a README is made from recordings, and by nobody's hand: each table
with the machine, the commit and the command that repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks import recordings, tables
from benchmarks.recordings import Recording

BEGIN = "<!-- figures: made by `python -m benchmarks report`, begin -->"
END = "<!-- figures: end -->"

_CASES_MAX = 22
"""Benchmarks with more cases than TPC-H show their sums only."""


def markdown(found: Sequence[Recording]) -> str:
    """A paragraph and tables for each recording."""
    return "\n\n".join(_section(recording) for recording in found)


def _section(recording: Recording) -> str:
    grids = tables.grids(recording)
    if len(recording.cases()) > _CASES_MAX:
        grids = grids[1:] or grids
    parts = [f"**{recording.benchmark}**, {_where(recording)}:"]
    parts += [grid.markdown() for grid in reversed(grids)]
    if complaints := tables.complaints(recording):
        parts.append("\n".join(f"* {' '.join(complaint.split())}" for complaint in complaints))
    return "\n\n".join(parts)


def _where(recording: Recording) -> str:
    machine = recording.machine
    memory_gib = round(machine["memory_bytes"] / 2**30)
    return (
        f"{machine['cores']} cores ({machine['processor']}), {memory_gib} GiB, "
        f"commit {machine['commit'] or 'unknown'}, `{recording.command}`"
    )


def put_into(readme: Path, text: str) -> None:
    """Replace what is between the markers; raises `click.ClickException` if they are not there."""
    before, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise click.ClickException(f"{readme} has no two lines that say:\n{BEGIN}\n{END}")
    readme.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")


@click.command("report")
@click.argument("files", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--into", type=click.Path(exists=True, path_type=Path), help="The README that is to have it."
)
def command(files: tuple[Path, ...], into: Path | None) -> None:
    """Recorded runs as Markdown: printed, or between the markers of a README."""
    found = recordings.read(files)
    if not found:
        raise click.ClickException("no measurements in these files")
    text = markdown(found)
    if into is None:
        click.echo(text)
    else:
        put_into(into, text)
