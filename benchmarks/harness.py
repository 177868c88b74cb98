"""How things are measured: in one run, in turn, by medians, with the machine's facts beside them.

Absolute figures drift by tens of per cent between runs on a shared machine. So contestants take turns
within one run, repetition by repetition, and what is reported is the ratio of their medians.
"""

from __future__ import annotations

import json
import os
import platform
import shlex
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

Measure = Callable[[], float]


def interleaved(measures: Mapping[str, Measure], repeat: int) -> dict[str, list[float]]:
    """Seconds per name, `repeat` of each. Every round runs each once, starting with another one."""
    names = list(measures)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(repeat):
        first = round_number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(measures[name]())
    return seconds


def median(seconds: list[float]) -> float:
    return statistics.median(seconds)


def core_count() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0))


def machine_facts() -> dict[str, Any]:
    """What a reader must know to judge a figure."""
    return {
        "processor": _processor(),
        "cores": core_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "system": platform.platform(),
        "python": platform.python_version(),
        "commit": _commit(),
        "versions": {name: _version(name) for name in ("flowgrid-engine", "duckdb", "pyarrow")},
    }


def write_json(path: Path, benchmark: str, settings: dict[str, Any], runs: list[Any]) -> None:
    """One JSON line for the machine and the settings, then one per measurement; appends."""
    head = {
        "benchmark": benchmark,
        "command": command_line(),
        "machine": machine_facts(),
        "settings": settings,
    }
    append_json(path, [head, *runs])


def append_json(path: Path, lines: Sequence[Any]) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def command_line() -> str:
    """What repeats this run, as it would be typed; where it is recorded is another matter."""
    words = sys.argv[1:]
    for option in ("--json", "--chart"):
        while option in words:
            del words[words.index(option) : words.index(option) + 2]
    return shlex.join(["python", "-m", "benchmarks", *words])


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _version(distribution: str) -> str:
    """Of what is installed; "" for what runs from a checkout."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def _commit() -> str:
    """The commit that was measured; "+" says that the checkout had changes, "" that there is none.

    Recordings and READMEs are no changes: a run may be recorded into the checkout that it measures.
    """
    git = ["git", "-C", str(Path(__file__).parent.parent)]
    told = [":(exclude)benchmarks/results", ":(exclude,glob)**/*.md"]
    try:
        commit = subprocess.run(
            [*git, "describe", "--always"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run([*git, "diff", "--quiet", "HEAD", "--", ".", *told]).returncode
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + "+" * bool(changed)
