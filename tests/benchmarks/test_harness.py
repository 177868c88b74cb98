"""Turns are fair, and a reader learns on what machine."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import harness
from benchmarks.seats import threads_of
from benchmarks.suite import contestants


def test_contestants_take_turns_and_each_goes_first() -> None:
    order: list[str] = []

    def measure(name: str) -> harness.Measure:
        def run() -> float:
            order.append(name)
            return float(len(order))

        return run

    seconds = harness.interleaved({name: measure(name) for name in "ab"}, repeat=2)

    assert order == ["a", "b", "b", "a"]
    assert seconds == {"a": [1.0, 4.0], "b": [2.0, 3.0]}


def test_a_recorded_run_begins_with_the_machine(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    harness.write_json(file, "tpch", {"scale": 1}, [{"query": 1}])
    head, line = map(json.loads, file.read_text().splitlines())
    assert head["machine"]["cores"] == harness.core_count()
    assert head["machine"]["versions"].keys() == {"flowgrid-engine", "duckdb", "pyarrow"}
    assert line == {"query": 1}


def test_a_peer_runs_once_for_every_width_of_a_master() -> None:
    field = contestants(["local[1]", "local-cluster[2,1,4096]", "local[2]"], ["duckdb"])
    assert [str(c) for c in field] == [
        "flowgrid local[1]",
        "flowgrid local-cluster[2,1,4096]",
        "flowgrid local[2]",
        "duckdb × 1",
        "duckdb × 2",
    ]
    assert threads_of("local") == harness.core_count()
