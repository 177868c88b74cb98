"""`--deploy-mode cluster`: what is refused before anything is begun. What it does, on a real cluster, is
in `tests/cluster/test_programs.py`."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowgrid.cli.main import main

COVERS = ["cancel"]


@pytest.fixture
def app(tmp_path: Path) -> str:
    path = tmp_path / "app.py"
    path.write_text("print('here')")
    return str(path)


IN_CLUSTER = ("submit", "--deploy-mode", "cluster")


@pytest.mark.parametrize(
    "master", [(), ("--master", "local[2]"), ("--master", "local-cluster[1,1,128]")]
)
def test_a_cluster_that_ends_with_its_driver_runs_no_drivers(
    app: str, master: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main([*IN_CLUSTER, *master, app]) == 2
    said = capfd.readouterr()
    assert "needs a cluster that is up: give --master tcp://host:port" in said.err
    assert said.out == ""


def test_a_program_that_is_not_there_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    assert main([*IN_CLUSTER, "--master", "tcp://127.0.0.1:1", "/no/app.py"]) == 2
    assert "'/no/app.py' does not exist" in capfd.readouterr().err


def test_a_setting_that_there_is_not_is_refused_here(
    app: str, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = ("--master", "tcp://127.0.0.1:1", "--conf", "planner.partitons=4")
    assert main([*IN_CLUSTER, *settings, app]) == 2
    assert "did you mean 'planner.partitions'" in capfd.readouterr().err


@pytest.mark.parametrize("option", [("--no-wait",), ("--files", "/tmp")])
def test_what_only_means_something_there_is_refused_in_client_mode(
    app: str, option: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["submit", *option, app]) == 2
    said = capfd.readouterr()
    assert "are for --deploy-mode cluster" in said.err
    assert said.out == "", "nothing was begun"


def test_an_unknown_scheduler_is_an_end_by_name(
    app: str, capfd: pytest.CaptureFixture[str]
) -> None:
    settings = ("--master", "tcp://127.0.0.1:1", "--conf", "submit.timeout_s=0.2")
    assert main([*IN_CLUSTER, *settings, app]) == 1
    assert "no scheduler answered at tcp://127.0.0.1:1" in capfd.readouterr().err


def test_only_programs_can_be_cancelled(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["cancel", "job-7"]) == 2
    assert "'job-7' is no program" in capfd.readouterr().err
