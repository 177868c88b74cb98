"""A cluster by hand, with keys: `flowgrid scheduler`, `executor` and `status` as real processes."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from flowgrid.cli.main import main
from flowgrid.config import Config
from flowgrid.errors import ConnectError
from flowgrid.submit.client import JobClient
from flowgrid.transport.security import Keys, Role, create_keys

COVERS = ["status"]

pytestmark = pytest.mark.cluster


@contextlib.contextmanager
def flowgrid(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A ``flowgrid`` process, ended in good order by SIGTERM."""
    process = subprocess.Popen(
        [sys.executable, "-m", "flowgrid.cli.main", *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    with process:
        yield process
        process.terminate()
        assert process.wait(10) == 0


@pytest.fixture
def keys(tmp_path: Path) -> Path:
    create_keys(tmp_path / "keys")
    return tmp_path / "keys"


@pytest.fixture
def scheduler(keys: Path, tmp_path: Path) -> Iterator[str]:
    """The address of a scheduler that wants keys."""
    flags = ("--bind", "tcp://127.0.0.1:0", "--state-dir", str(tmp_path / "state"))
    with flowgrid("scheduler", *flags, "--keys", str(keys)) as process:
        assert process.stdout is not None
        yield json.loads(process.stdout.readline())["control"]


def test_a_cluster_with_keys_is_open_to_each_role_as_far_as_it_goes(
    scheduler: str, keys: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / "blocks", tmp_path / "more"]
    flags = ["--scheduler", scheduler, "--keys", str(keys), "--name", "e1", "--slots", "2"]
    flags += [word for folder in folders for word in ("--directory", str(folder))]
    with flowgrid("executor", *flags, "--memory", "256m"):
        submitter = Keys(keys, Role.SUBMITTER)
        with JobClient.open(scheduler, submitter, Config(), "test") as client:
            assert client.wait_for_slots(2) == 2
        assert main(["status", "--scheduler", scheduler, "--keys", str(keys)]) == 0
        shown = capsys.readouterr().out
        assert "e1" in shown
        assert "0.0 MiB" in shown

        assert main(["status", "--scheduler", scheduler, "--keys", str(keys), "--json"]) == 0
        status = json.loads(capsys.readouterr().out)
        assert [executor["slots"] for executor in status["executors"]] == [2]
        assert all(folder.is_dir() for folder in folders)
    assert not any(folder.exists() for folder in folders)


@pytest.mark.parametrize("role", [Role.EXECUTOR, Role.OBSERVER])
def test_who_may_not_submit_is_not_heard(role: Role, scheduler: str, keys: Path) -> None:
    config = Config(submit_timeout_s=0.5)

    with pytest.raises(ConnectError, match="are the keys those of its cluster"):
        JobClient.open(scheduler, Keys(keys, role), config, "test")


def test_who_has_no_key_is_not_heard(scheduler: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--scheduler", scheduler, "--timeout", "0.5"]) == 1
    assert "no scheduler answered" in capsys.readouterr().err
