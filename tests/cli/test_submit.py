"""A submitted program runs as `python app.py` would run it, and finds what was submitted."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest


def submit(folder: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `program` as app.py; `arguments` may contain APP, otherwise it comes first."""
    (folder / "app.py").write_text(textwrap.dedent(program))
    words = arguments if "APP" in arguments else ("APP", *arguments)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("FLOWGRID_")}
    return subprocess.run(
        [
            *(sys.executable, "-m", "flowgrid.cli.main", "submit"),
            *(str(folder / "app.py") if word == "APP" else word for word in words),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
    )


def test_the_program_is_main_with_its_own_arguments_and_neighbours(tmp_path: Path) -> None:
    (tmp_path / "neighbour.py").write_text("WORD = 'hello'")
    program = """
        import sys
        from neighbour import WORD
        print(__name__, __file__ == sys.argv[0], sys.argv[1:], WORD)
    """
    ended = submit(tmp_path, program, "--master", "local[2]", "APP", "a", "--master", "mine")

    assert ended.stdout == "__main__ True ['a', '--master', 'mine'] hello\n"
    assert (ended.returncode, ended.stderr) == (0, "")


def test_the_program_finds_what_was_submitted(tmp_path: Path) -> None:
    program = """
        from flowgrid.submit.master import submitted_defaults
        said = submitted_defaults()
        print(said.master, said.name, dict(said.conf), said.keys)
    """
    options = ("--master", "local[2]", "--name", "nightly", "--conf", "executor.memory=2g")
    ended = submit(tmp_path, program, *options, "APP")

    assert ended.stdout == "local[2] nightly {'executor.memory': '2g'} None\n", ended.stderr


def submit_folder(below: Path, app: str) -> subprocess.CompletedProcess[str]:
    """Run the folder `app` as it lies below a folder."""
    command = [sys.executable, "-m", "flowgrid.cli.main", "submit", app, "word"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.run(
        command, cwd=below, capture_output=True, text=True, timeout=60, env=environment
    )


def test_a_folder_is_a_program_whose_functions_are_the_same_wherever_it_lies(
    tmp_path: Path,
) -> None:
    """Its stages are known again where its driver is started anew."""
    program = """
        import hashlib, sys, cloudpickle, neighbour
        def double(batch):
            return batch
        print(sys.argv, hashlib.sha256(cloudpickle.dumps(double)).hexdigest())
    """
    said = []
    for place in ("here", "there"):
        app = tmp_path / place / "app"
        app.mkdir(parents=True)
        (app / "__main__.py").write_text(textwrap.dedent(program))
        (app / "neighbour.py").touch()
        ended = submit_folder(app.parent, "app")
        assert ended.returncode == 0, ended.stderr
        said.append(ended.stdout)
    assert said[0].startswith("['app/__main__.py', 'word'] ")
    assert said[0] == said[1]


def test_an_error_in_a_folder_names_its_line_and_a_folder_without_a_program_is_refused(
    tmp_path: Path,
) -> None:
    (tmp_path / "app").mkdir()
    ended = submit_folder(tmp_path, "app")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert "app has no __main__.py" in ended.stderr

    (tmp_path / "app" / "__main__.py").write_text("import flowgrid as fg\nfg.connect('locl')\n")
    ended = submit_folder(tmp_path, "app")
    assert "app/__main__.py, line 2: " in ended.stderr


@pytest.mark.parametrize(
    ("option", "conf"),
    [
        (("--resume", "nightly"), {"resume.name": "nightly"}),
        (("--executor-memory", "2g"), {"executor.memory": "2g"}),
    ],
)
def test_options_that_are_settings(
    option: tuple[str, str], conf: dict[str, str], tmp_path: Path
) -> None:
    program = """
        from flowgrid.submit.master import submitted_defaults
        print(dict(submitted_defaults().conf))
    """
    ended = submit(tmp_path, program, *option, "APP")
    assert ended.stdout == f"{conf}\n", ended.stderr


@pytest.mark.parametrize(
    ("how", "code"),
    [("sys.exit(7)", 7), ("sys.exit()", 0), ("sys.exit('no')", 1), ("pass", 0)],
)
def test_the_exit_code_is_the_programs(how: str, code: int, tmp_path: Path) -> None:
    assert submit(tmp_path, f"import sys\n{how}").returncode == code


def test_an_error_of_ours_is_one_line_with_the_programs_own(tmp_path: Path) -> None:
    program = """
        from flowgrid.errors import UserCodeError
        def ask():
            raise UserCodeError("clean raised (in job-1)\\n\\nTraceback of the user", "user_error")
        ask()
    """
    ended = submit(tmp_path, program)

    where = f"{tmp_path / 'app.py'}, line 4"
    expected = f"flowgrid: error: {where}: clean raised (in job-1)\n\nTraceback of the user\n"
    assert (ended.returncode, ended.stderr) == (1, expected)


def test_another_error_has_the_programs_traceback_and_nothing_of_ours(tmp_path: Path) -> None:
    ended = submit(tmp_path, "def f():\n    1 / 0\nf()")

    assert ended.returncode == 1
    assert "ZeroDivisionError" in ended.stderr
    assert 'app.py", line 3' in ended.stderr
    assert "runpy" not in ended.stderr
    assert "flowgrid" not in ended.stderr.replace(str(tmp_path), "")


def test_a_program_that_does_not_parse_is_shown_where(tmp_path: Path) -> None:
    ended = submit(tmp_path, "print(")

    assert ended.returncode == 1
    assert 'app.py", line 1' in ended.stderr
    assert "SyntaxError" in ended.stderr


def test_ctrl_c_ends_the_program_with_its_own_code(tmp_path: Path) -> None:
    ended = submit(tmp_path, f"import os\nos.kill(os.getpid(), {int(signal.SIGINT)})\nwhile 1: 1")

    assert (ended.returncode, ended.stderr) == (130, "")
