"""``flowgrid bench`` is ``python -m benchmarks``, where there are any."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flowgrid.cli import bench as module
from flowgrid.cli.main import main

ROOT = Path(__file__).parent.parent.parent


def bench(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "flowgrid.cli.main", "bench", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_in_a_checkout_it_is_python_m_benchmarks() -> None:
    listed = bench(ROOT, "--help")
    assert listed.returncode == 0
    assert "tpch" in listed.stdout
    assert bench(ROOT, "tpch", "--scale", "no-number").returncode == 2


def test_elsewhere_it_says_where_they_are(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert main(["bench", "tpch"]) == 2
    assert "checkout" in capsys.readouterr().err
