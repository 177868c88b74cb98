"""`report FILES`: recorded runs as the part of a README that tells how fast it is.

What stands between the two markers of a README is made from recordings, and by nobody's hand: each table
with the machine, the commit and the command that repeats it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from benchmarks import chart, cost, recordings, staircase, standings, tables
from benchmarks.recordings import Recording
from benchmarks.tables import Grid

BEGIN = "<!-- figures: made by `python -m benchmarks report`, begin -->"
END = "<!-- figures: end -->"

_CASES_MAX = 22
"""Benchmarks with more cases than TPC-H show their sums only."""

_OWN_GRIDS = {"cost": cost.grid, "memory": staircase.grid}
"""Benchmarks that have something else to show than seconds by case."""


def markdown(found: Sequence[Recording], brief: bool = False) -> str:
    """Paragraphs and tables. Runs of one benchmark over the same data are told together, peers first.

    `brief` leaves away what each run did with each case.
    """
    alike: dict[str, list[Recording]] = {}
    for recording in found:
        alike.setdefault(recording.title, []).append(recording)
    parts = []
    for runs in alike.values():
        beside_peers = _is_suite(runs[0])
        if beside_peers:
            parts += [_heading(runs), standings.grid(runs).markdown()]
            parts.append("\n".join(f"* `{run.command}`{_ended(run)}" for run in runs))
        if not (brief and beside_peers):
            parts += [_section(run) for run in runs]
    return "\n\n".join(parts)


def _ended(run: Recording) -> str:
    """That it did not come to its end, where that is so."""
    asked, measured = run.settings.get("cases", 0), len(run.cases())
    return f", ended after {measured} of {asked} cases" if measured < asked else ""


def _is_suite(recording: Recording) -> bool:
    """Were the same questions put to peers, who did nothing else?"""
    own = recording.benchmark in _OWN_GRIDS or any(m.figures for m in recording.measurements)
    return not own


def _section(recording: Recording) -> str:
    if recording.benchmark in _OWN_GRIDS:
        grids: Sequence[Grid] = [_OWN_GRIDS[recording.benchmark](recording)]
    else:
        grids = tables.grids(recording)
    if len(recording.cases()) > _CASES_MAX:
        grids = grids[1:] or grids
    parts = [f"{_heading([recording])[:-1]}, `{recording.command}`{_ended(recording)}:"]
    parts += [grid.markdown() for grid in reversed(grids)]
    if complaints := tables.complaints(recording):
        parts.append("\n".join(f"* {' '.join(complaint.split())}" for complaint in complaints))
    return "\n\n".join(parts)


def _heading(runs: Sequence[Recording]) -> str:
    machine = runs[0].machine
    memory_gib = round(machine["memory_bytes"] / 2**30)
    commits = dict.fromkeys(run.machine["commit"] or "unknown" for run in runs)
    return (
        f"**{runs[0].title}**, {machine['cores']} cores ({machine['processor']}), {memory_gib} GiB, "
        f"commit {', '.join(commits)}:"
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
@click.option(
    "--chart", "chart_file", type=click.Path(path_type=Path), help="Draw the peers, as SVG or PNG."
)
@click.option("--brief", is_flag=True, help="Sums beside the peers, not what became of each query.")
def command(
    files: tuple[Path, ...], into: Path | None, brief: bool, chart_file: Path | None
) -> None:
    """Recorded runs as Markdown: printed, or between the markers of a README."""
    found = recordings.read(sorted(files))
    if not found:
        raise click.ClickException("no measurements in these files")
    if chart_file is not None:
        chart.draw_standings([one for one in found if one.title == found[0].title], chart_file)
    text = markdown(found, brief)
    if into is None:
        click.echo(text)
    else:
        put_into(into, text)
