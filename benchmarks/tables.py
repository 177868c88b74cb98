"""A recording as a table: the same rows for the terminal and for a README."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from benchmarks.harness import median
from benchmarks.recordings import Measurement, Recording

MISSING = "—"

_SCALES = {
    "bytes_per_s": (10**6, "MB/s"),
    "bytes": (2**20, "MiB"),
    "seconds": (1, "s"),
    "_s": (1, "s"),
}
"""What a figure whose name ends so is divided by, and its unit then."""


@dataclass(frozen=True)
class Grid:
    """Headings and rows of text, all of the same width. The first column is names."""

    title: str
    headings: list[str]
    rows: list[list[str]]

    def print(self, console: Console) -> None:
        table = Table(title=self.title, title_justify="left")
        for number, heading in enumerate(self.headings):
            table.add_column(heading, justify="right" if number else "left")
        for row in self.rows:
            table.add_row(*row)
        console.print(table)

    def markdown(self) -> str:
        rules = ["---", *["--:"] * (len(self.headings) - 1)]
        return "\n".join(
            "| " + " | ".join(row) + " |" for row in (self.headings, rules, *self.rows)
        )


def seconds_by_case(recording: Recording) -> Grid:
    """A row per case, a column per contestant: median seconds, and against the first contestant."""
    names = recording.contestants()
    cells = recording.by_cell()
    rows = []
    for case in recording.cases():
        ours = _median_s(cells.get((case, names[0])))
        row = [case, MISSING if ours is None else f"{ours:.3f}"]
        for name in names[1:]:
            theirs = _median_s(cells.get((case, name)))
            ratio = "" if theirs is None or not ours else f" ({theirs / ours:.2f}×)"
            row.append(MISSING if theirs is None else f"{theirs:.3f}{ratio}")
        rows.append(row)
    title = f"{recording.benchmark}, seconds (median), and as a multiple of {names[0]}"
    return Grid(title, ["", *names], rows)


def summary(recording: Recording) -> Grid:
    """A row per contestant: sums over the cases that it and the first contestant got right.

    What a contestant cannot express, or got wrong, is in neither of the two sums: it is not counted
    against it, and the count of cases says so.
    """
    names = recording.contestants()
    cells = recording.by_cell()
    cases = recording.cases()
    rows = []
    for name in names:
        both = [
            (cells[case, names[0]], cells[case, name])
            for case in cases
            if _median_s(cells.get((case, names[0]))) is not None
            and _median_s(cells.get((case, name))) is not None
        ]
        ours = sum(one.median_s or 0.0 for one, _ in both)
        theirs = sum(one.median_s or 0.0 for _, one in both)
        cpu_s = sum(sum(one.cpu_seconds) / len(one.seconds) for _, one in both)
        peaks = [m for m in recording.measurements if m.contestant == name]
        rows.append(
            [
                name,
                f"{len(both)} of {len(cases)}",
                f"{theirs:.2f}",
                f"{theirs / ours:.2f}" if ours else MISSING,
                f"{cpu_s:.1f}",
                f"{max(m.memory_bytes_max for m in peaks) / 2**20:,.0f} MiB",
                f"{max(m.disk_bytes_max for m in peaks) / 2**20:,.0f} MiB",
            ]
        )
    headings = ["", "right", "seconds", f"× {names[0]}", "CPU seconds", "peak memory", "peak disk"]
    return Grid(f"{recording.benchmark}, sum of medians", headings, rows)


def figures(recording: Recording) -> Grid:
    """A row per case and contestant, a column for each figure that the benchmark knows."""
    shown = [(m, _all_figures(m)) for m in recording.measurements]
    names = list(dict.fromkeys(name for _, found in shown for name in found))
    rows = [
        [f"{m.case}, {m.contestant}", *(_text(name, found.get(name)) for name in names)]
        for m, found in shown
    ]
    headings = ["", *map(_heading, names)]
    return Grid(recording.benchmark, headings, rows)


def _all_figures(one: Measurement) -> dict[str, float]:
    """What every benchmark measures, where this one did, and what it alone knows."""
    common = {
        "seconds": one.median_s,
        "CPU_seconds": median(one.cpu_seconds) if one.cpu_seconds else None,
        "peak_memory_bytes": one.memory_bytes_max or None,
        "peak_disk_bytes": one.disk_bytes_max or None,
    }
    return {name: value for name, value in common.items() if value is not None} | one.figures


def complaints(recording: Recording) -> list[str]:
    """What was not right, a line each; what could not be expressed is no complaint."""
    cases: dict[tuple[str, str], list[str]] = {}
    for m in recording.measurements:
        if m.verdict not in ("", "cannot"):
            cases.setdefault((m.contestant, m.verdict), []).append(m.case)
    return [f"{', '.join(found)}, {who}: {what}" for (who, what), found in cases.items()]


def grids(recording: Recording) -> Sequence[Grid]:
    """All that there is to show of a recording."""
    if any(m.figures for m in recording.measurements):
        return [figures(recording)]
    return [seconds_by_case(recording), summary(recording)]


def _median_s(measurement: Measurement | None) -> float | None:
    return None if measurement is None else measurement.median_s


def _heading(name: str) -> str:
    """The name without its unit, which stands in every cell."""
    for suffix in ("_bytes_per_s", "_bytes", "_s"):
        name = name.removesuffix(suffix)
    return name.replace("_", " ")


def _text(name: str, value: float | None) -> str:
    if value is None:
        return MISSING
    for suffix, (scale, unit) in _SCALES.items():
        if name.endswith(suffix):
            digits = 3 if scale == 1 else 1
            return f"{value / scale:,.{digits}f} {unit}"
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"
