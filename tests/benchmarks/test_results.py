"""What the READMEs say of speed is what was recorded, and nobody wrote it by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks import recordings, report

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results"


@pytest.mark.skipif(not RESULTS.is_dir(), reason="no run is recorded in benchmarks/results yet")
@pytest.mark.parametrize(
    ("readme", "files", "brief"),
    [("README.md", "tpch-*.json", True), ("benchmarks/README.md", "*.json", False)],
)
def test_a_readme_tells_what_was_recorded(readme: str, files: str, brief: bool) -> None:
    told = report.markdown(recordings.read(sorted(RESULTS.glob(files))), brief)
    assert told in (ROOT / readme).read_text(encoding="utf-8"), (
        f"do: python -m benchmarks report benchmarks/results/{files}"
        f" {'--brief ' if brief else ''}--into {readme}"
    )
