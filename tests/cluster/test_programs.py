"""`submit --deploy-mode cluster` on a real cluster: a driver runs on an executor, and dies there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pyarrow.parquet as pq
import pytest

from flowgrid.ids import ProgramId
from flowgrid.protocol.programs import ProgramState, ProgramStatus
from flowgrid.submit.client import ask_status
from tests.cluster.assassin import RECORDED, attempts_started, journals_of, succeeded_tasks
from tests.cluster.census import Premises, command_line, paths_below
from tests.cluster.deadlines import eventually
from tests.cluster.standalone import Standalone, standalone

END_S = 60.0

PROGRAM = """
import sys
import time
from pathlib import Path
import pyarrow as pa
import flowgrid as fg
from neighbour import FACTOR

lineitem, first, gate, code = *sys.argv[1:4], int(sys.argv[4])
conf = {"planner.force_exchanges": "true", "planner.partitions": "4", "planner.split_bytes": "1m"}

def doubled(batch):
    return pa.record_batch({"n": [2 * n for n in batch["n"].to_pylist()]})

with fg.connect(conf=conf) as session:
    session.register("lineitem", session.read_parquet(lineitem))
    orders = "SELECT l_orderkey, count(*) AS n FROM lineitem GROUP BY l_orderkey"
    rows = session.sql(orders).map_batches(doubled, schema=pa.schema({"n": pa.int64()}))
    (answer,) = rows.agg(fg.sum("n").alias("n")).to_pylist()
    print(answer["n"], FACTOR, flush=True)
    Path(first).touch()
    while not Path(gate).exists():
        time.sleep(0.02)
    print(session.sql("SELECT count(*) AS n FROM lineitem").to_pylist())
print("done", file=sys.stderr)
sys.exit(code)
"""


class Submission:
    """A program, and whoever waits for it."""

    def __init__(self, premises: Premises, cluster: Standalone, data: Path, code: int = 0) -> None:
        self.cluster = cluster
        folder = premises.folder.parent
        (folder / "app.py").write_text(PROGRAM)
        (folder / "neighbour.py").write_text("FACTOR = 'beside it'")
        self.first, self.gate = folder / "first", folder / "gate"
        where = (str(data / "lineitem.parquet"), str(self.first), str(self.gate), str(code))
        self.submitter = subprocess.Popen(
            [
                *(sys.executable, "-m", "flowgrid.cli.main", "submit", "--deploy-mode", "cluster"),
                *("--master", cluster.address, "--files", str(folder / "neighbour.py")),
                *(str(folder / "app.py"), *where),
            ],
            env=premises.environment(),
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def reaches_its_middle(self) -> None:
        eventually("the first job is done", self.first.exists, END_S, self.status)

    def goes_on(self) -> None:
        self.gate.touch()

    def ends(self) -> tuple[int, str, str]:
        out, errors = self.submitter.communicate(timeout=END_S)
        return self.submitter.returncode, out, errors

    def status(self) -> ProgramStatus:
        (status,) = ask_status(self.cluster.address, None, 10.0).programs
        return status


@pytest.fixture
def expected(tpch_data: Path) -> str:
    """What one driver prints from its beginning to its end."""
    rows = pq.read_metadata(tpch_data / "lineitem.parquet").num_rows
    return f"{2 * rows} beside it\n[{{'n': {rows}}}]\n"


@pytest.fixture
def cluster(premises: Premises) -> Iterator[Standalone]:
    with standalone(premises, conf=RECORDED) as opened:
        yield opened


@pytest.fixture
def submission(premises: Premises, cluster: Standalone, tpch_data: Path) -> Iterator[Submission]:
    submission = Submission(premises, cluster, tpch_data)
    yield submission
    submission.submitter.kill()
    submission.submitter.communicate()


def driver_of(premises: Premises) -> psutil.Process:
    """The driver's process, wherever it runs."""

    def drivers() -> list[psutil.Process]:
        found = premises.running("flowgrid.cli.main")
        return [one for one in found if "cluster" not in command_line(one)]

    return eventually("a driver runs", drivers)[0]


def driver_folders(premises: Premises) -> list[Path]:
    return [path for path in paths_below(premises.folder) if path.name.startswith("driver-")]


def started(premises: Premises) -> int:
    return sum(len(attempts_started(journal)) for journal in journals_of(premises))


def nothing_is_left(premises: Premises, cluster: Standalone) -> None:
    eventually("no job is kept", lambda: not ask_status(cluster.address, None, 10.0).jobs)
    eventually("no folder is left", lambda: not driver_folders(premises))
    eventually("no driver is left", lambda: not premises.running("flowgrid.cli.main"))


@pytest.mark.parametrize("code", [0, 7])
def test_the_submitter_prints_what_the_program_prints_and_ends_as_it_ends(
    premises: Premises, cluster: Standalone, tpch_data: Path, expected: str, code: int
) -> None:
    submission = Submission(premises, cluster, tpch_data, code)
    submission.goes_on()
    ended, out, errors = submission.ends()
    assert (ended, out) == (code, expected), errors
    assert errors == "flowgrid: submitted as program-1\ndone\n"
    assert submission.status().state == (ProgramState.FAILED if code else ProgramState.SUCCEEDED)
    nothing_is_left(premises, cluster)


def test_a_killed_driver_runs_again_and_finds_what_it_had_done(
    premises: Premises, cluster: Standalone, submission: Submission, expected: str
) -> None:
    submission.reaches_its_middle()
    done = {task for journal in journals_of(premises) for task in succeeded_tasks(journal)}
    before = started(premises)

    driver_of(premises).kill()
    eventually("another driver", lambda: submission.status().driver == 1)
    submission.goes_on()
    code, out, errors = submission.ends()

    assert code == 0, errors
    first, _ = expected.splitlines(keepends=True)
    assert out == first + expected, "two drivers have printed"
    assert "was killed by SIGKILL" in errors
    (journal,) = journals_of(premises)
    again = {attempt.task for attempt in attempts_started(journal)[before:]}
    assert again, "the second job was not run"
    assert not again & done, "what was done was run again"
    nothing_is_left(premises, cluster)


def test_a_driver_whose_executor_is_killed_goes_on_elsewhere(
    premises: Premises, cluster: Standalone, submission: Submission, expected: str
) -> None:
    submission.reaches_its_middle()
    where = submission.status().executor
    victim = cluster.executors[int(where[-1]) - 1]
    victim.kill()
    eventually("another driver", lambda: submission.status().driver == 1)
    assert submission.status().executor != where
    submission.goes_on()
    code, out, errors = submission.ends()
    assert code == 0, errors
    assert out.endswith(expected)
    assert "which is lost" in errors
    # What a killed executor leaves is for `flowgrid clean`, or for the next one that starts there.
    for folder in premises.folder.glob(f"flowgrid-{where}-*"):
        subprocess.run(["rm", "-r", str(folder)], check=True)
    nothing_is_left(premises, cluster)


def test_a_program_outlives_the_scheduler(
    premises: Premises, cluster: Standalone, submission: Submission, expected: str
) -> None:
    submission.reaches_its_middle()
    pid = driver_of(premises).pid
    cluster.scheduler.kill()
    cluster.restart_scheduler()
    submission.goes_on()
    code, out, errors = submission.ends()
    assert (code, out) == (0, expected), errors
    assert submission.status().driver == 0
    assert not psutil.pid_exists(pid)
    nothing_is_left(premises, cluster)


def test_a_program_does_not_need_its_submitter_and_can_be_cancelled(
    premises: Premises, cluster: Standalone, submission: Submission, expected: str
) -> None:
    submission.reaches_its_middle()
    submission.submitter.kill()
    driver_of(premises)
    command = ("-m", "flowgrid.cli.main", "cancel", "program-1", "--scheduler", cluster.address)
    cancelled = subprocess.run(
        [sys.executable, *command], env=premises.environment(), capture_output=True, text=True
    )
    assert cancelled.stdout == "program-1 has cancelled: it was cancelled\n", cancelled.stderr
    assert submission.status().program == ProgramId(1)
    nothing_is_left(premises, cluster)


def test_a_program_that_is_not_waited_for_is_named(
    premises: Premises, cluster: Standalone, tmp_path: Path
) -> None:
    (tmp_path / "app.py").write_text("print('hello')")
    options = ("--deploy-mode", "cluster", "--no-wait", "--master", cluster.address)
    submitted = subprocess.run(
        [sys.executable, "-m", "flowgrid.cli.main", "submit", *options, str(tmp_path / "app.py")],
        env=premises.environment(),
        capture_output=True,
        text=True,
    )
    assert submitted.stdout == "program-1\n", submitted.stderr

    def state() -> ProgramState:
        (status,) = ask_status(cluster.address, None, 10.0).programs
        return status.state

    eventually("it has ended", lambda: state() is ProgramState.SUCCEEDED, END_S)
    nothing_is_left(premises, cluster)
