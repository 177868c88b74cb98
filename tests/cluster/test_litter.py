"""However a driver ends, nothing of it stays: no process, no file, no shared memory."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

import flowgrid as fg
from tests.cluster.census import Premises
from tests.cluster.deadlines import eventually
from tests.cluster.drivers import Driver

MASTERS = ["local", "local-cluster[2,1,1024]"]

BUSY = """
import pathlib, signal, sys
import pyarrow as pa
import flowgrid as fg

master, running = sys.argv[1:]

def waits(batch):
    pathlib.Path(running).touch()
    signal.pause()
    return batch

with fg.connect(master) as session:
    keys = session.range(200_000).group_by("id").agg(fg.count().alias("n"))
    keys.map_batches(waits, schema=pa.schema({"n": pa.int64()})).collect()
"""
"""A job that has shuffled and then runs until somebody stops it."""


@pytest.mark.parametrize("master", MASTERS)
def test_a_closed_session_leaves_nothing(premises: Premises, master: str) -> None:
    with fg.connect(master) as session:
        assert session.range(1_000).group_by("id").agg(fg.count().alias("n")).count() == 1_000
        assert premises.processes(), "nothing was started: the census is blind"
    premises.require_empty()


def test_a_cluster_that_lost_an_executor_closes_as_quickly(premises: Premises) -> None:
    with fg.connect(MASTERS[1]) as session:
        session.range(10).count()
        premises.running("flowgrid_executor")[1].kill()
        closing_since = time.monotonic()
    assert time.monotonic() - closing_since < 2.5
    premises.require_empty()


@pytest.mark.parametrize("master", MASTERS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_driver_that_is_killed_in_the_middle_of_a_job_leaves_nothing(
    premises: Premises, tmp_path: Path, master: str, number: signal.Signals
) -> None:
    running = tmp_path / "running"
    with Driver(BUSY, premises, master, str(running)) as driver:
        eventually("the job runs", lambda: driver.reaches(running), within_s=30)
        driver.process.send_signal(number)
        assert driver.process.wait(timeout=10) != 0
        premises.require_empty()


def test_what_a_driver_and_its_scheduler_leave_when_both_are_killed_goes_with_the_next_start(
    premises: Premises, tmp_path: Path
) -> None:
    running = tmp_path / "running"
    with Driver(BUSY, premises, MASTERS[1], str(running)) as driver:
        eventually("the job runs", lambda: driver.reaches(running), within_s=30)
        for process in (*premises.running("flowgrid_scheduler"), driver.process):
            process.kill()
        driver.process.wait(timeout=10)
        eventually("no process is left", lambda: not premises.processes())
    with fg.connect("local[1]"):
        pass
    premises.require_empty()
