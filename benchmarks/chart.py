"""Recordings as bar charts, SVG or PNG."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.recordings import Recording
from benchmarks.standings import standings

_INCHES_MAX = 16.0


def draw(recording: Recording, path: Path) -> None:
    """Median seconds of each contestant by case; a missing bar is no right answer."""
    names, cells = recording.contestants(), recording.by_cell()
    cases = recording.cases()
    figure = _figure(min(max(6.0, 0.12 * len(cases) * len(names) + 2), _INCHES_MAX), 4.5)
    axes = figure.subplots()
    width = 0.8 / len(names)
    for number, name in enumerate(names):
        found = [cells.get((case, name)) for case in cases]
        heights = [(one.median_s if one is not None else None) or 0.0 for one in found]
        places = [place + (number - (len(names) - 1) / 2) * width for place in range(len(cases))]
        axes.bar(places, heights, width, label=name)
    axes.set_xticks(range(len(cases)), cases)
    axes.margins(x=0.01)
    axes.set_ylabel("seconds (median)")
    axes.set_yscale("log" if len(cases) > 1 else "linear")
    axes.set_title(f"{recording.benchmark} on {recording.machine['cores']} cores")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.08), ncols=4)
    figure.savefig(path)


def draw_standings(recordings: Sequence[Recording], path: Path) -> None:
    """How many times as long each peer takes as FlowGrid, a bar per master; 1 is a line."""
    found = [one for one in reversed(standings(recordings)) if one.cases]
    masters = list(found[0].ours) if found else []
    figure = _figure(6.5, 0.8 + 0.4 * len(found))
    axes = figure.subplots()
    height = 0.8 / max(len(masters), 1)
    for number, master in enumerate(masters):
        places = [place + 0.4 - (number + 0.5) * height for place in range(len(found))]
        times = [one.seconds / one.ours[master] for one in found]
        bars = axes.barh(places, times, height, label=f"against {master}")
        axes.bar_label(bars, fmt="%.2f", padding=2, fontsize=8)
    axes.axvline(1.0, color="black", linewidth=0.8)
    axes.set_yticks(range(len(found)), [f"{one.peer} ({one.cases})" for one in found])
    axes.margins(x=0.12)
    axes.set_title(f"{recordings[0].title}: times as long (queries compared)", fontsize=10)
    axes.legend(fontsize=8)
    figure.savefig(path)


def _figure(width_inches: float, height_inches: float) -> Any:
    try:
        import matplotlib  # only charts need it
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        message = "charts need matplotlib, which comes with: pip install -e '.[benchmarks]'"
        raise SystemExit(message) from None
    # Text as text and nothing that differs from run to run: a tenth of the size, and readable diffs.
    matplotlib.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "flowgrid"})
    return Figure(figsize=(width_inches, height_inches), layout="tight")
