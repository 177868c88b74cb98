"""`flowgrid clean` says what it does, and takes nothing from the living."""

from __future__ import annotations

import fcntl
import json
import os
import time
from pathlib import Path

import pytest

from flowgrid.cli.main import main
from flowgrid.io import commit


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """With the staging place of a job whose driver is gone."""
    output = tmp_path / "out"
    claim = commit.prepare(str(output), "error").claim
    assert claim is not None
    claim.release()
    return output


@pytest.fixture
def temp(tmp_path: Path) -> Path:
    """With what a killed executor and a killed cluster left, and with a living one."""
    temp = tmp_path / "temp"
    long_ago = time.time() - 3600
    for name in ("executor-1-ab", "executor-2-cd", "of-a-cluster"):
        (temp / f"flowgrid-{name}").mkdir(parents=True)
    (temp / "flowgrid-of-a-cluster" / "driver.lock").touch()
    for directory in temp.iterdir():
        os.utime(directory, (long_ago, long_ago))
    return temp


def test_the_dead_are_cleaned_up_and_the_living_are_not(
    output: Path, temp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    descriptor = os.open(temp / "flowgrid-executor-2-cd", os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    try:
        assert main(["clean", str(output), "--temp", str(temp)]) == 0
    finally:
        os.close(descriptor)
    said = capsys.readouterr().out
    assert "out/_flowgrid/" in said
    assert "its driver is gone" in said
    assert [path.name for path in temp.iterdir()] == ["flowgrid-executor-2-cd"]
    assert not output.exists()


def test_a_dry_run_touches_nothing_and_programs_can_read_it(
    output: Path, temp: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(map(str, (*output.rglob("*"), *temp.rglob("*"))))
    assert main(["clean", str(output), "--temp", str(temp), "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["what"] for one in found] == ["removed"] * 4
    assert sorted(map(str, (*output.rglob("*"), *temp.rglob("*")))) == before
