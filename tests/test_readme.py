"""The README's programs run and its commands work, as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.census import moved_in

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(not README.exists(), reason="the README is in the checkout"),
]

PORT = "7077"


def blocks(language: str) -> list[str]:
    text = README.read_text(encoding="utf-8") if README.exists() else ""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    return [line for block in blocks("bash") for line in block.splitlines() if line]


@pytest.fixture
def place(tpch_data: Path, tmp_path: Path) -> Iterator[Path]:
    """An empty folder with the data that the README's programs read; nothing else may stay."""
    (tmp_path / "data").symlink_to(tpch_data)
    with moved_in():
        yield tmp_path


def run(words: list[str], place: Path, *, check: bool = True) -> str:
    ended = subprocess.run(
        words, cwd=place, env=_environment(), capture_output=True, text=True, timeout=120
    )
    assert not check or ended.returncode == 0, f"{words}\n{ended.stdout}{ended.stderr}"
    return ended.stdout


def _environment() -> dict[str, str]:
    """This interpreter's programs come first, as in an activated environment."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.mark.parametrize("program", blocks("python"), ids=lambda text: f"{len(text)}-characters")
def test_every_program_runs_and_prints_something(place: Path, program: str) -> None:
    (place / "program.py").write_text(program, encoding="utf-8")
    printed = run([sys.executable, "program.py"], place)
    assert len(printed.splitlines()) >= 1


def test_every_command_is_run_by_the_gate_or_here() -> None:
    gate = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    unknown = [
        command
        for command in commands()
        if not command.startswith(("flowgrid ", ".venv/bin/tpchgen-cli "))
        and not all(part.strip() in gate for part in command.split("&&"))
    ]
    assert not unknown, f"let .ci/run or this file run these, or take them out: {unknown}"


def test_the_data_is_made_by_the_command_that_is_shown(tmp_path: Path) -> None:
    (command,) = (line for line in commands() if line.startswith(".venv/bin/tpchgen-cli"))
    run(shlex.split(command.removeprefix(".venv/bin/")), tmp_path)
    assert (tmp_path / "data" / "orders.parquet").is_file()


def test_a_cluster_comes_up_and_runs_a_program_by_the_commands_that_are_shown(place: Path) -> None:
    """Commands that end with & stay up; the others end by themselves."""
    port = _free_port()
    (block,) = (block for block in blocks("bash") if "flowgrid scheduler" in block)
    (place / "app.py").write_text(blocks("python")[0], encoding="utf-8")
    stays: list[subprocess.Popen[bytes]] = []
    try:
        for line in block.replace(PORT, str(port)).splitlines():
            words = shlex.split(line.removesuffix("&"))
            if line.endswith("&"):
                with (place / "log").open("ab") as log:
                    stays.append(
                        subprocess.Popen(
                            words, cwd=place, env=_environment(), stdout=log, stderr=log
                        )
                    )
            else:
                assert run(words, place)
    finally:
        for process in reversed(stays):
            process.terminate()
            assert process.wait(10) == 0, (place / "log").read_text()


def test_keys_are_made_by_the_command_that_is_shown(place: Path) -> None:
    (command,) = (line for line in commands() if line.startswith("flowgrid keys"))
    run(shlex.split(command), place)
    assert (place / "keys" / "cluster.key_secret").stat().st_mode & 0o077 == 0


def _free_port() -> int:
    with socket.socket() as finder:
        finder.bind(("127.0.0.1", 0))
        port: int = finder.getsockname()[1]
    return port
