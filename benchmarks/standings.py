"""FlowGrid beside each peer in one line, over one recorded run or several.

A peer is compared only with what FlowGrid did in the same run: runs drift, so a peer's seconds of one
run say nothing beside FlowGrid's of another. A run may hold some of the queries, or some of the peers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.harness import median
from benchmarks.recordings import Measurement, Recording
from benchmarks.tables import MISSING, Grid

OURS = "flowgrid"


@dataclass(frozen=True)
class Standing:
    """Sums of medians over the cases that the peer and all of ours got right; `ours` is by master."""

    peer: str
    cases: int
    seconds: float
    cpu_seconds: float
    memory_bytes_max: int
    ours: dict[str, float]


def standings(recordings: Sequence[Recording]) -> list[Standing]:
    """One for each peer, the slowest in relation to FlowGrid first."""
    masters = _masters(recordings)
    names = dict.fromkeys(name for one in recordings for name in one.contestants())
    found = [_standing(name, masters, recordings) for name in names if not name.startswith(OURS)]
    return sorted(found, key=lambda one: -_times(one, masters[0]) if masters else 0.0)


def grid(recordings: Sequence[Recording]) -> Grid:
    """A row per peer: its seconds, and ours with how many times as long the peer takes."""
    masters = _masters(recordings)
    cases = len(dict.fromkeys(case for one in recordings for case in one.cases()))
    versions = {k: v for one in recordings for k, v in one.settings.get("versions", {}).items()}
    rows = []
    for one in standings(recordings):
        engine, _, width = one.peer.partition(" ")
        ours = [
            f"{one.ours[master]:.2f} ({_times(one, master):.2f}×)" if one.cases else MISSING
            for master in masters
        ]
        rows.append(
            [
                " ".join(filter(None, (engine, versions.get(engine, ""), width))),
                f"{one.cases} of {cases}",
                f"{one.seconds:.2f}" if one.cases else MISSING,
                *ours,
                f"{one.cpu_seconds:.1f}" if one.cases else MISSING,
                f"{one.memory_bytes_max / 2**20:,.0f} MiB",
            ]
        )
    headings = ["peer", "right", "its seconds", *masters, "its CPU seconds", "its peak memory"]
    return Grid("FlowGrid beside its peers", headings, rows)


def _masters(recordings: Sequence[Recording]) -> list[str]:
    """The masters that FlowGrid ran on in every one of the runs."""
    each = [[n for n in one.contestants() if n.startswith(OURS)] for one in recordings]
    return [name for name in each[0] if all(name in names for names in each)] if each else []


def _standing(peer: str, masters: Sequence[str], recordings: Sequence[Recording]) -> Standing:
    here = [one for one in recordings if peer in one.contestants()]
    cases = list(dict.fromkeys(case for one in here for case in one.cases()))
    seconds = cpu_seconds = 0.0
    ours = dict.fromkeys(masters, 0.0)
    right = 0
    for case in cases:
        cells = [cell for one in here if (cell := _cell(one, case, [peer, *masters]))]
        if not cells or any(m.median_s is None for cell in cells for m in cell.values()):
            continue
        right += 1
        seconds += median([s for cell in cells for s in cell[peer].seconds])
        cpu_seconds += median([s for cell in cells for s in cell[peer].cpu_seconds] or [0.0])
        for master in masters:
            ours[master] += median([s for cell in cells for s in cell[master].seconds])
    peaks = [m.memory_bytes_max for one in here for m in one.measurements if m.contestant == peer]
    return Standing(peer, right, seconds, cpu_seconds, max(peaks), ours)


def _cell(recording: Recording, case: str, names: Sequence[str]) -> dict[str, Measurement]:
    """What these measured of a case in one run; empty if one of them was not asked."""
    cells = recording.by_cell()
    found = {name: cells[case, name] for name in names if (case, name) in cells}
    return found if len(found) == len(names) else {}


def _times(one: Standing, master: str) -> float:
    return one.seconds / one.ours[master] if one.ours[master] else 0.0
