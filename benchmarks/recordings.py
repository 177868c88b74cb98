"""What a benchmark measured, as it is written to a file and read back.

A recording is JSON lines: first the benchmark with the machine and its settings, then a line for each
measurement. A file may hold several, one after another.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from benchmarks.harness import append_json, median, write_json


@dataclass
class Measurement:
    """What one contestant did with one case, every repetition of it.

    `verdict` is "" where it did it right, "cannot" where it has no way to say it, and otherwise what
    was wrong. Peaks are in bytes, over all repetitions. `figures` are what only this benchmark knows, by
    a name that ends in the unit.
    """

    case: str
    contestant: str
    seconds: list[float]
    verdict: str = ""
    cpu_seconds: list[float] = field(default_factory=list)
    memory_bytes_max: int = 0
    disk_bytes_max: int = 0
    figures: dict[str, float] = field(default_factory=dict)

    @property
    def median_s(self) -> float | None:
        """Of the right answers: a wrong one has no speed."""
        return None if self.verdict or not self.seconds else median(self.seconds)


SIZES = ("scale", "rows", "megabytes", "tasks")
"""Settings that say how much data there was."""


@dataclass
class Recording:
    """One run of one benchmark on one machine."""

    benchmark: str
    machine: dict[str, Any]
    settings: dict[str, Any]
    measurements: list[Measurement]
    command: str = ""

    @property
    def title(self) -> str:
        """The benchmark and the size of its data: what of two runs can be compared."""
        sizes = [f"{size} {self.settings[size]:,g}" for size in SIZES if size in self.settings]
        return ", ".join([self.benchmark, *sizes])

    def contestants(self) -> list[str]:
        return list(dict.fromkeys(m.contestant for m in self.measurements))

    def cases(self) -> list[str]:
        return list(dict.fromkeys(m.case for m in self.measurements))

    def by_cell(self) -> dict[tuple[str, str], Measurement]:
        return {(m.case, m.contestant): m for m in self.measurements}


Record = Callable[[Sequence[Measurement]], None]
"""Keeps what has been measured."""


def begin(path: Path | None, benchmark: str, settings: dict[str, Any]) -> Record:
    """Append a recording that grows: of a run that is ended, what it had measured is kept.

    No path, no file.
    """
    if path is None:
        return lambda measurements: None
    write_json(path, benchmark, settings, [])
    return lambda measurements: append_json(path, [asdict(one) for one in measurements])


def write(
    path: Path | None,
    benchmark: str,
    settings: dict[str, Any],
    measurements: Sequence[Measurement],
) -> None:
    """Append a whole recording; no path, no file."""
    begin(path, benchmark, settings)(measurements)


def read(paths: Iterable[Path]) -> list[Recording]:
    """The recordings of these files, those of benchmarks that keep no measurements left out."""
    recordings: list[Recording] = []
    names = {one.name for one in fields(Measurement)}
    for path in paths:
        for text in path.read_text(encoding="utf-8").splitlines():
            line = json.loads(text)
            if "benchmark" in line:
                head = (line["benchmark"], line["machine"], line["settings"])
                recordings.append(Recording(*head, [], line.get("command", "")))
            elif {"case", "contestant", "seconds"} <= line.keys() <= names:
                recordings[-1].measurements.append(Measurement(**line))
    return [recording for recording in recordings if recording.measurements]
