"""Driver processes for real: what they print, how they end, and what is left of them."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from flowgrid_executor.driver_processes import DriverEvent, DriverProcesses
from flowgrid_executor.events import DriverExited, DriverSpoke

from flowgrid.ids import DriverId
from flowgrid.protocol.programs import ProgramSpec
from flowgrid.submit.archives import pack
from tests.cluster.deadlines import eventually

COVERS = ["driver_main"]

pytestmark = pytest.mark.cluster

DRIVER = DriverId(3, 1)
END_S = 20.0


@pytest.fixture
def blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The executor's directory."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(path for path in sys.path if path))
    folder = tmp_path / "blocks"
    folder.mkdir()
    return folder


@pytest.fixture
def processes(blocks: Path) -> Iterator[DriverProcesses]:
    opened = DriverProcesses("tcp://127.0.0.1:1", "", blocks, shutil.rmtree)
    yield opened
    opened.close()
    assert not list(blocks.iterdir()), "a folder is left"


def spec(folder: Path, source: str, *arguments: str, **conf: str) -> ProgramSpec:
    app = folder / "app.py"
    app.write_text(source)
    return ProgramSpec("nightly", app.name, arguments, conf, pack(app, ()))


def until_it_ends(processes: DriverProcesses) -> tuple[list[DriverSpoke], DriverExited]:
    """Reads on after every piece, as nobody holds it up."""
    spoke: list[DriverSpoke] = []
    deadline = time.monotonic() + END_S
    while time.monotonic() < deadline:
        for event in next_events(processes):
            if isinstance(event, DriverExited):
                return spoke, event
            spoke.append(event)
            processes.read(event.driver)
    raise AssertionError("it does not end")


def next_events(processes: DriverProcesses) -> list[DriverEvent]:
    select.select([processes.fileno()], [], [], 1.0)
    return processes.events()


def said(spoke: list[DriverSpoke], error: bool = False) -> str:
    return b"".join(event.data for event in spoke if event.error is error).decode()


def test_a_program_runs_in_a_folder_of_its_own_with_what_was_submitted(
    processes: DriverProcesses, tmp_path: Path
) -> None:
    source = """
import os, sys, tempfile
from flowgrid.submit.master import submitted_defaults
print(sys.argv, os.listdir(), tempfile.gettempdir() == os.path.abspath("../tmp"))
print(submitted_defaults().master, dict(submitted_defaults().conf), os.environ["FLOWGRID_DRIVER"])
print("to people", file=sys.stderr)
sys.exit(7)
"""
    processes.run(DRIVER, spec(tmp_path, source, "--a", "b", **{"resume.name": "x"}))
    spoke, ended = until_it_ends(processes)
    assert said(spoke) == (
        "['app.py', '--a', 'b'] ['app.py'] True\n"
        "tcp://127.0.0.1:1 {'resume.name': 'x'} program-3#1\n"
    )
    assert said(spoke, error=True) == "to people\n"
    assert ended == DriverExited(DRIVER, 7)


def test_more_than_a_pipe_holds_comes_through_whole_and_waits_for_its_reader(
    processes: DriverProcesses, tmp_path: Path
) -> None:
    processes.run(DRIVER, spec(tmp_path, "print('x' * 1_000_000)"))
    first = eventually("it prints", lambda: next_events(processes), END_S)
    assert len(first) == 1, "one piece for each read"
    assert not next_events(processes)
    processes.read(DRIVER)
    spoke, ended = until_it_ends(processes)
    assert isinstance(first[0], DriverSpoke)
    assert len(first[0].data) + len(said(spoke)) == 1_000_001
    assert ended.exit_code == 0


def test_a_killed_driver_takes_along_what_it_started(
    processes: DriverProcesses, tmp_path: Path
) -> None:
    source = "import subprocess\nprint(subprocess.Popen(['sleep', '60']).pid)\nwhile True: pass"
    processes.run(DRIVER, spec(tmp_path, source))
    (spoke,) = eventually("it prints", lambda: next_events(processes), END_S)
    assert isinstance(spoke, DriverSpoke)
    child = psutil.Process(int(spoke.data))

    processes.kill(DRIVER)
    _, ended = until_it_ends(processes)

    assert ended.exit_code == -signal.SIGKILL
    eventually("its child is gone", lambda: not child.is_running() or child.status() == "zombie")


def test_a_driver_that_cannot_be_started_says_why(
    processes: DriverProcesses, blocks: Path, tmp_path: Path
) -> None:
    (blocks / "driver-3-1").mkdir()
    processes.run(DRIVER, spec(tmp_path, "print()"))
    _, ended = until_it_ends(processes)
    assert "File exists" in ended.reason


def test_a_broken_archive_is_no_end_of_the_program(processes: DriverProcesses) -> None:
    processes.run(DRIVER, ProgramSpec("a", "app.py", (), {}, b"no archive"))
    spoke, ended = until_it_ends(processes)
    assert ended.exit_code == -signal.SIGABRT
    assert "cannot be unpacked" in said(spoke, error=True)


def test_a_driver_ends_with_its_executor(blocks: Path, tmp_path: Path) -> None:
    """`kill -9` of the supervisor: nobody is there to end what it started."""
    app = spec(tmp_path, "import os\nprint(os.getpid())\nwhile True: pass")
    (tmp_path / "archive").write_bytes(app.archive)
    supervisor = f"""
import select, sys
from pathlib import Path
from flowgrid_executor.driver_processes import DriverProcesses
from flowgrid.ids import DriverId
from flowgrid.protocol.programs import ProgramSpec
processes = DriverProcesses("tcp://127.0.0.1:1", "", Path({str(blocks)!r}), print)
archive = Path({str(tmp_path / "archive")!r}).read_bytes()
processes.run(DriverId(1, 0), ProgramSpec("a", "app.py", (), {{}}, archive))
select.select([processes.fileno()], [], [])
print(processes.events()[0].data.decode(), flush=True)
select.select([], [], [])
"""
    with subprocess.Popen(
        [sys.executable, "-c", supervisor], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        driver = psutil.Process(int(child.stdout.readline()))
        child.kill()
        eventually("its driver is gone", lambda: not driver.is_running())
