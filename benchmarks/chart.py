"""A recording as a bar chart, SVG or PNG."""

from __future__ import annotations

from pathlib import Path

from benchmarks.recordings import Recording

_INCHES_MAX = 16.0


def draw(recording: Recording, path: Path) -> None:
    """Median seconds of each contestant by case; a missing bar is no right answer."""
    try:
        from matplotlib.figure import Figure  # only charts need it
    except ModuleNotFoundError:
        message = "charts need matplotlib, which comes with: pip install -e '.[benchmarks]'"
        raise SystemExit(message) from None
    names, cells = recording.contestants(), recording.by_cell()
    cases = recording.cases()
    figure = Figure(
        figsize=(min(max(6.0, 0.12 * len(cases) * len(names) + 2), _INCHES_MAX), 4.5),
        layout="tight",
    )
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
