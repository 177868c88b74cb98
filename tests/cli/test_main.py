"""Command lines that cannot be used: one line that says why, exit code 2, and nothing begun."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from flowgrid.cli.main import main

COVERS = ["settings"]

COMMANDS = ["submit", "scheduler", "executor", "status", "why", "clean", "keys"]


@pytest.fixture
def app(tmp_path: Path) -> str:
    path = tmp_path / "app.py"
    path.write_text("raise SystemExit('began')")
    return str(path)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["frobnicate"], "No such command 'frobnicate'"),
        (["submit", "nowhere.py"], "nowhere.py"),
        (["submit", "--mastr", "local", "{app}"], "--mastr"),
        (["submit", "--master", "locl", "{app}"], "did you mean 'local'?"),
        (["submit", "--conf", "executor.memory", "{app}"], "name=value"),
        (["submit", "--conf", "executor.memry=4g", "{app}"], "'executor.memory'"),
        (["submit", "--conf", "task.attempts_max=many", "{app}"], "expected a whole number"),
        (["submit", "--keys", "nowhere", "{app}"], "nowhere"),
        (["scheduler", "--bind", "tcp://0.0.0.0:0"], "--keys DIR"),
        (["scheduler", "--conf", "x=1"], "unknown setting 'x'"),
        (["executor"], "--scheduler"),
        (["why", "yesterday"], "'yesterday' is no job"),
        (["clean", "--older-than", "old"], "'old' is no age"),
        (["executor", "--scheduler", "local"], "tcp://host:port"),
        (["executor", "--scheduler", "tcp://h:1", "--bind", "tcp://*:0"], "--keys DIR"),
        (["executor", "--scheduler", "tcp://h:1", "--memory", "much"], "--memory"),
        (["executor", "--scheduler", "tcp://h:1", "--slots", "0"], "--slots"),
    ],
)
def test_a_bad_command_line_is_answered_in_one_line(
    arguments: list[str], message: str, app: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([word.format(app=app) for word in arguments])

    out, err = capsys.readouterr()
    assert code == 2
    assert out == ""
    assert err.startswith("flowgrid: error: ")
    assert err.count("\n") == 1
    assert message in err


def test_help_names_every_command_and_imports_none(capsys: pytest.CaptureFixture[str]) -> None:
    program = (
        "import sys\n"
        "from flowgrid.cli.main import main\n"
        "code = main(['--help'])\n"
        "heavy = {'zmq', 'msgspec', 'rich', 'pyarrow', 'duckdb', 'sqlglot'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else code)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": ":".join(sys.path)},
        timeout=30,
    )
    assert ended.returncode == 0, ended.stderr
    assert all(f"  {command} " in ended.stdout for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    assert f"Usage: flowgrid {command}" in capsys.readouterr().out


def test_the_version_says_what_must_agree(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert "duckdb 2." in capsys.readouterr().out
