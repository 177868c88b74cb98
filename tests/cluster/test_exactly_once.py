"""A driver that dies after it has published: the next one of its run does not publish again."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.dataset as ds
import pytest

from flowgrid.submit.client import ask_status
from tests.cluster.assassin import RECORDED, executor_name
from tests.cluster.census import Premises, command_line
from tests.cluster.deadlines import eventually
from tests.cluster.drivers import Driver
from tests.cluster.standalone import Standalone, standalone

END_S = 60.0
ROWS = 1000

PROGRAM = """
import sys
import time
from pathlib import Path
import flowgrid as fg

master, resume, out, published, gate, format_ = sys.argv[1:]
conf = {"planner.force_exchanges": "true", "planner.partitions": "2"}
with fg.connect(master or None, conf=conf, resume=resume or None) as session:
    rows = session.range(1000).group_by("id").agg(fg.count().alias("n"))
    write = getattr(rows, f"write_{format_}")
    for mode in ("error", "append", "append"):
        write(out, mode=mode) if mode == "append" else write(out + "-error")
        Path(published).touch()
    while not Path(gate).exists():
        time.sleep(0.02)
"""


@pytest.fixture
def cluster(premises: Premises) -> Iterator[Standalone]:
    with standalone(premises, conf=RECORDED) as opened:
        yield opened


class Places:
    def __init__(self, premises: Premises, format_: str = "parquet") -> None:
        self.format = format_
        folder = premises.folder.parent
        self.out, self.published, self.gate = (folder / n for n in ("out", "published", "gate"))

    def arguments(self, master: str, resume: str) -> tuple[str, ...]:
        return master, resume, *map(str, (self.out, self.published, self.gate)), self.format

    def rows(self, suffix: str = "") -> int:
        files = [str(path) for path in Path(f"{self.out}{suffix}").glob(f"*.{self.format}")]
        return int(ds.dataset(files, format=self.format).count_rows()) if files else 0

    def everything_is_published(self) -> None:
        eventually("it is published", lambda: self.rows() == 2 * ROWS, END_S, self.rows)

    def is_there_once(self) -> None:
        assert (self.rows(), self.rows("-error")) == (2 * ROWS, ROWS)
        assert not (self.out / "_flowgrid").exists(), "a staging place is left"


@pytest.mark.parametrize("format_", ["parquet", "csv", "json", "ipc"])
def test_a_program_that_is_run_again_appends_once_and_the_next_night_again(
    premises: Premises, cluster: Standalone, format_: str
) -> None:
    places = Places(premises, format_)
    arguments = places.arguments(cluster.address, "nightly")
    with Driver(PROGRAM, premises, *arguments) as driver:
        places.everything_is_published()
        driver.process.kill()
    eventually(
        "its jobs are kept",
        lambda: {job.state for job in ask_status(cluster.address, None, 10.0).jobs} <= {"kept"},
    )
    places.gate.touch()
    with Driver(PROGRAM, premises, *arguments) as driver:
        assert driver.process.wait(END_S) == 0, driver.output
    places.is_there_once()

    with Driver(PROGRAM, premises, *arguments) as driver:
        assert driver.process.wait(END_S) == 1
        assert "is not empty" in driver.output, "another night, and its output is there already"


def test_a_driver_on_the_cluster_that_dies_appends_once(
    premises: Premises, cluster: Standalone
) -> None:
    """With its executor: the next driver plans for a smaller cluster."""
    places = Places(premises)
    (premises.folder.parent / "app.py").write_text(PROGRAM)
    command = ("-m", "flowgrid.cli.main", "submit", "--deploy-mode", "cluster")
    app = (str(premises.folder.parent / "app.py"), *places.arguments("", ""))
    with subprocess.Popen(
        [sys.executable, *command, "--master", cluster.address, *app],
        env=premises.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as submitter:
        places.everything_is_published()
        (driver,) = [
            process
            for process in premises.running("flowgrid.cli.main")
            if "cluster" not in command_line(process)
        ]
        supervisor = driver.parent()
        assert isinstance(supervisor, psutil.Process)
        victim = executor_name(supervisor)
        supervisor.kill()
        places.gate.touch()
        output, _ = submitter.communicate(timeout=END_S)
        assert submitter.returncode == 0, output
    places.is_there_once()
    for folder in premises.folder.glob(f"flowgrid-{victim}-*"):
        subprocess.run(["rm", "-r", str(folder)], check=True)
