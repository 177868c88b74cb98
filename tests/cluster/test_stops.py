"""SIGSTOP: who does not run for a while is no danger afterwards, and nobody waits for ever."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

import flowgrid as fg
from flowgrid.submit.client import ask_status
from tests.cluster.assassin import a_slot_of
from tests.cluster.census import Premises
from tests.cluster.deadlines import eventually
from tests.cluster.heavy import SHUFFLES, require_right, shuffled
from tests.cluster.standalone import Standalone, standalone

pytestmark = pytest.mark.xdist_group("stops")

IMPATIENT = {"executor.heartbeat_timeout_s": "2", "executor.heartbeat_interval_s": "0.2"}


@pytest.fixture(scope="module")
def cluster(shared_premises: Premises) -> Iterator[Standalone]:
    with standalone(shared_premises, conf=IMPATIENT) as opened:
        yield opened


@pytest.fixture
def session(cluster: Standalone) -> Iterator[fg.Session]:
    with fg.connect(cluster.address, conf=SHUFFLES) as opened:
        eventually("both executors are there", lambda: executors(cluster) == 2, within_s=20)
        yield opened
        eventually("both are there again", lambda: executors(cluster) == 2, within_s=20)
        require_right(shuffled(opened), within_s=20)


def executors(cluster: Standalone) -> int:
    return len(ask_status(cluster.address, None, 5.0).executors)


def held_up(session: fg.Session, folder: Path) -> fg.DataFrame:
    """The shuffling job, whose last task tells that it runs and goes on when it may."""
    begun, goes_on = str(folder / "begun"), str(folder / "goes-on")

    def holds(batch: pa.RecordBatch) -> pa.RecordBatch:
        Path(begun).touch()
        while not os.path.exists(goes_on):
            time.sleep(0.01)
        return batch

    schema = pa.schema({"ids": pa.int64(), "rows": pa.int64()})
    summed = shuffled(session)
    whole = summed.select(fg.col("ids").cast("BIGINT"), fg.col("rows").cast("BIGINT"))
    return whole.map_batches(holds, schema=schema)


def stopped_meanwhile(
    session: fg.Session,
    folder: Path,
    process: Callable[[], psutil.Process],
    until: Callable[[], object],
) -> None:
    """The job is right although a process is stopped in the middle of it, until something is so."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            require_right(held_up(session, folder), within_s=40)
        except BaseException as error:
            failures.append(error)

    job = threading.Thread(target=run)
    job.start()
    try:
        eventually("the job is in its middle", (folder / "begun").exists, within_s=20)
        victim = process()
        victim.send_signal(signal.SIGSTOP)
        try:
            until()
        finally:
            victim.send_signal(signal.SIGCONT)
            (folder / "goes-on").touch()
    finally:
        (folder / "goes-on").touch()
        job.join()
    assert not failures, failures


def test_an_executor_that_stands_still_for_a_moment_loses_nothing(
    cluster: Standalone, session: fg.Session, tmp_path: Path
) -> None:
    before = [one.executor for one in ask_status(cluster.address, None, 5.0).executors]
    victim = psutil.Process(cluster.executors[0].pid)
    stopped_meanwhile(session, tmp_path, lambda: victim, lambda: time.sleep(1))
    assert [one.executor for one in ask_status(cluster.address, None, 5.0).executors] == before


def test_an_executor_that_stands_still_for_too_long_is_replaced_and_refused_when_it_wakes(
    cluster: Standalone, session: fg.Session, tmp_path: Path
) -> None:
    before = {one.executor for one in ask_status(cluster.address, None, 5.0).executors}
    victim = psutil.Process(cluster.executors[0].pid)

    def lost_and_replaced() -> None:
        eventually("it counts as lost", lambda: executors(cluster) == 1)
        (tmp_path / "goes-on").touch()

    stopped_meanwhile(session, tmp_path, lambda: victim, lost_and_replaced)
    eventually("it is another one now", lambda: executors(cluster) == 2, within_s=20)
    after = {one.executor for one in ask_status(cluster.address, None, 5.0).executors}
    assert len(before & after) == 1


def test_a_scheduler_that_stands_still_blames_nobody(
    cluster: Standalone, session: fg.Session, tmp_path: Path
) -> None:
    victim = psutil.Process(cluster.scheduler.pid)
    stopped_meanwhile(session, tmp_path, lambda: victim, lambda: time.sleep(3))


def test_a_slot_that_stands_still_for_a_moment_goes_on(
    cluster: Standalone, session: fg.Session, tmp_path: Path
) -> None:
    def slot() -> psutil.Process:
        found = a_slot_of(psutil.Process(cluster.executors[0].pid))
        assert found is not None
        return found

    stopped_meanwhile(session, tmp_path, slot, lambda: time.sleep(0.5))
