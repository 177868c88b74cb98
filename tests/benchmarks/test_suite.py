"""A small run for real: contestants in processes of their own, answers compared, figures recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from rich.console import Console

from benchmarks import chart, compare, recordings, report, tables
from benchmarks.__main__ import COMMANDS, main
from benchmarks.answers import AnswersDiffer, require_alike
from benchmarks.recordings import Measurement, Recording
from benchmarks.seats import Contestant, Limits, seated
from benchmarks.suite import Case, run

OURS, THEIRS = Contestant("flowgrid", 1, "local[1]"), Contestant("duckdb", 1)


@pytest.fixture
def numbers(tmp_path: Path) -> dict[str, Path]:
    pq.write_table(pa.table({"n": range(1000)}), tmp_path / "numbers.parquet")
    return {"numbers": tmp_path / "numbers.parquet"}


def test_every_command_is_where_the_table_says() -> None:
    for name in COMMANDS:
        result = CliRunner().invoke(main, [name, "--help"])
        assert result.exit_code == 0, result.output


@pytest.mark.cluster
def test_contestants_answer_alike_and_are_measured(
    numbers: dict[str, Path], tmp_path: Path
) -> None:
    case = Case("sum", "numbers/sum", "SELECT sum(n) AS total FROM numbers")
    wrong = Case("refused", "numbers/refused", "SELECT nothing FROM numbers")

    file = tmp_path / "run.json"
    record = recordings.begin(file, "numbers", {"repeat": 2})
    quiet = Console(quiet=True)
    found = run(numbers, [OURS, THEIRS], [case, wrong], 2, Limits(60.0), quiet, record)

    assert [(m.case, m.contestant, bool(m.verdict)) for m in found] == [
        ("sum", "flowgrid local[1]", False),
        ("sum", "duckdb × 1", False),
        ("refused", "flowgrid local[1]", True),
        ("refused", "duckdb × 1", True),
    ]
    assert all(len(m.seconds) == len(m.cpu_seconds) == 2 for m in found[:2])
    assert len(found[2].seconds) == 1, "what was refused once is not asked again"

    [recording] = recordings.read([file])
    assert recording.measurements == found
    grid = tables.seconds_by_case(recording)
    assert [row[0] for row in grid.rows] == ["sum", "refused"]
    assert grid.rows[1][1:] == [tables.MISSING] * 2
    assert tables.summary(recording).rows[1][1] == "1 of 2"
    assert len(tables.complaints(recording)) == 2


@pytest.mark.cluster
def test_what_takes_too_long_or_too_much_is_ended_and_starts_again(
    numbers: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = "SELECT sum(a.n * b.n) FROM range(10000000) AS a(n), range(1000000) AS b(n)"
    with seated(THEIRS, numbers, Limits(timeout_s=0.5)) as seat:
        assert seat.ask("", endless).verdict == "ended: no answer within 0.5 s"
    with seated(THEIRS, numbers, Limits(timeout_s=60.0, memory_bytes_max=1 << 20)) as seat:
        assert "does not start" in seat.ask("", "SELECT 1").verdict
        monkeypatch.setattr("benchmarks.seats.subprocess.Popen", None)  # nobody waits for it again
        assert "does not start" in seat.ask("", "SELECT 1").verdict
        monkeypatch.undo()
    with seated(THEIRS, numbers, Limits(timeout_s=60.0)) as seat:
        seat.kill()
        assert seat.ask("", "SELECT 1").verdict.startswith("died")
        answer = seat.ask("", "SELECT count(*) FROM numbers").answer
        assert answer is not None
        assert answer.to_pydict() == {"count_star()": [1000]}


def test_a_missing_answer_counts_in_no_sum() -> None:
    cells = [
        Measurement("Q1", "flowgrid local", [1.0], cpu_seconds=[1.0]),
        Measurement("Q1", "other × 2", [3.0], cpu_seconds=[1.0]),
        Measurement("Q2", "flowgrid local", [5.0], cpu_seconds=[1.0]),
        Measurement("Q2", "other × 2", [9.0], "cannot"),
    ]
    grid = tables.summary(Recording("tpch", {}, {}, cells))
    assert grid.rows[1][:4] == ["other × 2", "1 of 2", "3.00", "3.00"]
    assert tables.complaints(Recording("tpch", {}, {}, cells)) == []


def test_another_engines_types_are_its_own_affair() -> None:
    exact = pa.table({"a": pa.array(["0.33"]).cast(pa.decimal128(5, 2)), "b": ["x"]})
    require_alike(exact, pa.table({"A": [0.3333], "b": pa.array(["x"], pa.large_string())}))
    with pytest.raises(AnswersDiffer):
        require_alike(exact, pa.table({"a": [0.35], "b": ["x"]}))
    with pytest.raises(AnswersDiffer, match="2 columns against 1"):
        require_alike(exact, pa.table({"a": [0.33]}))


def recorded(path: Path, ours: float, theirs: float, peers: float = 1.0) -> Path:
    machine = {"processor": "", "cores": 2, "memory_bytes": 1 << 34, "commit": ""}
    lines = [
        {"benchmark": "tpch", "machine": machine, "settings": {}},
        {"case": "Q1", "contestant": "flowgrid local", "seconds": [ours]},
        {"case": "Q1", "contestant": "duckdb × 2", "seconds": [theirs]},
        {"case": "Q1", "contestant": "polars × 2", "seconds": [peers]},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path


def test_a_chart_has_everybody_in_it(tmp_path: Path) -> None:
    [recording] = recordings.read([recorded(tmp_path / "run.json", 1.0, 2.0)])
    chart.draw(recording, tmp_path / "run.svg")
    drawn = (tmp_path / "run.svg").read_text()
    assert drawn.startswith("<?xml")
    assert "flowgrid local" in drawn
    assert "duckdb × 2" in drawn
    chart.draw_standings([recording], tmp_path / "peers.svg")
    drawn = (tmp_path / "peers.svg").read_text()
    assert "against flowgrid local" in drawn
    assert "duckdb × 2 (1)" in drawn


def test_figures_come_into_a_readme_between_its_markers(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"# Before\n\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    run = recorded(tmp_path / "run.json", 1.0, 2.0)
    command = ["report", str(run), "--into", str(readme)]

    assert CliRunner().invoke(main, command).exit_code == 0
    once = readme.read_text()
    assert CliRunner().invoke(main, command).exit_code == 0

    assert once == readme.read_text()
    assert once.startswith("# Before\n")
    assert once.endswith(f"{report.END}\nafter\n")
    assert "old" not in once
    assert "| Q1 | 1.000 | 2.000 (2.00×) |" in once
    readme.write_text("# No markers\n")
    assert CliRunner().invoke(main, command).exit_code == 1


def test_what_a_run_measured_before_it_was_ended_is_kept_and_said(tmp_path: Path) -> None:
    file = tmp_path / "run.json"
    record = recordings.begin(file, "tpch", {"scale": 1, "cases": 2})
    record([Measurement("Q1", "flowgrid local", [1.0]), Measurement("Q1", "duckdb × 2", [2.0])])
    text = report.markdown(recordings.read([file]), brief=True)
    assert "| duckdb × 2 | 1 of 1 | 2.00 | 1.00 (2.00×) |" in text
    assert text.endswith(", ended after 1 of 2 cases")


def test_a_report_shows_the_cost_of_a_recorded_run_too() -> None:
    cells = [
        Measurement("Q1", "flowgrid local-cluster[1,1,64]", [2.0]),
        Measurement("Q1", "flowgrid local-cluster[2,1,64]", [1.0]),
        Measurement("Q1", "duckdb × 1", [1.5]),
        Measurement("Q2", "flowgrid local-cluster[1,1,64]", [9.0]),
        Measurement("Q2", "flowgrid local-cluster[2,1,64]", [9.0]),
        Measurement("Q2", "duckdb × 1", [1.5]),
    ]
    machine = {"processor": "", "cores": 2, "memory_bytes": 1 << 34, "commit": ""}
    text = report.markdown([Recording("cost", machine, {"scale": 1}, cells)])
    assert "| Q1 | 2.000 | 1.000 | 1.500 | 2 |" in text
    assert "| Q2 | 9.000 | 9.000 | 1.500 | never |" in text


def test_a_regression_is_one_against_the_peer_in_the_same_run(tmp_path: Path) -> None:
    before = recorded(tmp_path / "before.json", 1.0, 1.0)
    slow_machine = recorded(tmp_path / "slow.json", 2.0, 2.0)
    slow_peer = recorded(tmp_path / "peer.json", 1.0, 1.0, peers=9.0)
    slower = recorded(tmp_path / "slower.json", 1.3, 1.0)
    assert not [c for c in compare.changes(before, slow_machine) if c.factor > 1.1]
    [change] = [c for c in compare.changes(before, slower) if c.factor > 1.1]
    assert (change.case, change.contestant) == ("Q1", "flowgrid local")
    for innocent in (slow_machine, slow_peer):
        assert CliRunner().invoke(main, ["compare", str(before), str(innocent)]).exit_code == 0
    assert CliRunner().invoke(main, ["compare", str(before), str(slower)]).exit_code == 1
