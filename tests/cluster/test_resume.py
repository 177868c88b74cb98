"""kill -9 of the driver: without a resume name nothing stays; with one its next run goes on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

import flowgrid as fg
from flowgrid.ids import TaskId
from flowgrid.submit.client import ask_status
from tests.cluster.assassin import (
    RECORDED,
    Assassin,
    after_tasks,
    attempts_started,
    journal_of,
    succeeded_tasks,
)
from tests.cluster.census import Premises
from tests.cluster.deadlines import eventually
from tests.cluster.drivers import Driver
from tests.cluster.standalone import Standalone, standalone

SHUFFLES = {
    "planner.force_exchanges": "true",
    "planner.partitions": "8",
    "planner.split_bytes": "256k",
}
END_S = 60.0

PROGRAM = """
import sys
import pyarrow as pa
import flowgrid as fg

address, lineitem, conf, resume, last = sys.argv[1], sys.argv[2], eval(sys.argv[3]), *sys.argv[4:]

def doubled(batch):
    return pa.record_batch({"n": batch["n"], "twice": [2 * n for n in batch["orders"].to_pylist()]})

with fg.connect(address, conf=conf, resume=resume or None) as session:
    session.register("lineitem", session.read_parquet(lineitem))
    session.register("given", session.from_pylist([{"n": n} for n in range(1, 8)]))
    print(session.sql("SELECT sum(l_quantity) AS quantity FROM lineitem").to_pylist(), flush=True)
    sizes = session.sql('''SELECT n, count(*) AS orders FROM (
        SELECT l_orderkey, count(*) AS n FROM lineitem GROUP BY l_orderkey
    ) JOIN given USING (n) GROUP BY n''')
    schema = pa.schema({"n": pa.int64(), "twice": pa.int64()})
    rows = sizes.map_batches(doubled, schema=schema).filter(f"twice > {last}")
    print(sorted(rows.to_pylist(), key=lambda row: row["n"]))
"""


@pytest.fixture
def cluster(premises: Premises) -> Iterator[Standalone]:
    with standalone(premises, conf=RECORDED) as opened:
        yield opened


def run(
    premises: Premises, cluster: Standalone, data: Path, resume: str, last: str = "0"
) -> Driver:
    path = str(data / "lineitem.parquet")
    return Driver(PROGRAM, premises, cluster.address, path, str(SHUFFLES), resume, last)


def killed_after(tasks: int, premises: Premises, driver: Driver) -> None:
    victim = psutil.Process(driver.process.pid)
    with Assassin(premises, after_tasks(tasks), lambda: victim) as assassin:
        driver.process.wait(END_S)
    assert assassin.struck, driver.output


def answer_of(driver: Driver) -> str:
    assert driver.process.wait(END_S) == 0, driver.output
    return driver.output


def job_states(cluster: Standalone) -> list[str]:
    return [job.state for job in ask_status(cluster.address, None, 10.0).jobs]


def blocks_bytes(cluster: Standalone) -> int:
    executors = ask_status(cluster.address, None, 10.0).executors
    return sum(executor.blocks_bytes for executor in executors)


def started_tasks(journal: Path) -> list[TaskId]:
    return [attempt.task for attempt in attempts_started(journal)]


def test_without_a_resume_name_nothing_of_a_killed_driver_stays(
    premises: Premises, cluster: Standalone, tpch_data: Path
) -> None:
    with run(premises, cluster, tpch_data, resume="") as driver:
        killed_after(10, premises, driver)
    eventually("its jobs are gone", lambda: job_states(cluster) == [])
    eventually("its blocks are gone", lambda: blocks_bytes(cluster) == 0)
    with fg.connect(cluster.address) as session:
        table = session.from_pylist([{"n": 1}])  # its driver's files, where the dead one's are
        assert table.count() == 1, "the next driver"


@pytest.mark.parametrize("scheduler_dies", [False, True])
def test_a_program_that_is_run_again_goes_on_where_its_killed_run_was(
    premises: Premises, cluster: Standalone, tpch_data: Path, scheduler_dies: bool
) -> None:
    with run(premises, cluster, tpch_data, resume="") as driver:
        answer = answer_of(driver)
    journal = journal_of(premises)
    before = len(succeeded_tasks(journal))

    with run(premises, cluster, tpch_data, resume="nightly") as driver:
        killed_after(before + before * 2 // 3, premises, driver)
    eventually("its jobs are kept", lambda: set(job_states(cluster)) == {"kept"})
    done = succeeded_tasks(journal)
    assert len(done) > before
    began = len(started_tasks(journal))
    if scheduler_dies:
        cluster.scheduler.kill()
        cluster.restart_scheduler()

    with run(premises, cluster, tpch_data, resume="nightly") as driver:
        assert answer_of(driver) == answer
    later = started_tasks(max(premises.folder.parent.glob("*/*.journal"), key=_modified))
    again = later if scheduler_dies else later[began:]
    assert again, "nothing was left to do"
    assert not set(again) & done, "what was done was run again"
    eventually("nothing is kept", lambda: job_states(cluster) == [])
    eventually("no blocks are kept", lambda: blocks_bytes(cluster) == 0)


def _modified(path: Path) -> int:
    return path.stat().st_mtime_ns


def test_a_program_that_was_changed_gives_its_own_answer(
    premises: Premises, cluster: Standalone, tpch_data: Path
) -> None:
    with run(premises, cluster, tpch_data, resume="", last="3000") as driver:
        answer = answer_of(driver)
    before = len(succeeded_tasks(journal_of(premises)))
    with run(premises, cluster, tpch_data, resume="nightly") as driver:
        killed_after(2 * before - 1, premises, driver)
    eventually("its jobs are kept", lambda: set(job_states(cluster)) == {"kept"})
    journal = journal_of(premises)
    done, began = succeeded_tasks(journal), len(started_tasks(journal))
    with run(premises, cluster, tpch_data, resume="nightly", last="3000") as driver:
        assert answer_of(driver) == answer
    again = started_tasks(journal)[began:]
    assert again, "what was changed was not run"
    last = max(task.stage for task in again)
    assert not {task for task in again if task.stage < last} & done, (
        "what is as it was was run again"
    )
    eventually("nothing is kept", lambda: job_states(cluster) == [])


def test_under_a_local_master_a_resume_name_changes_nothing(premises: Premises) -> None:
    with fg.connect("local[1]", resume="nightly") as session:
        assert session.range(10).count() == 10
