"""Slow disks and slow readers cost time: nobody is taken for dead, and nothing piles up."""

from __future__ import annotations

import time

import psutil

import flowgrid as fg
from flowgrid.submit.client import ask_status
from tests.cluster import slow_disk
from tests.cluster.census import Premises
from tests.cluster.deadlines import eventually
from tests.cluster.distant import distant
from tests.cluster.heavy import SHUFFLES, require_right, shuffled

PROGRAM = ("-m", "tests.cluster.slow_disk")
IMPATIENT = {"executor.heartbeat_timeout_s": "3", "executor.heartbeat_interval_s": "0.2"}
ROWS = 4_000_000
GROWS_BYTES_MAX = 16 << 20


def test_a_disk_that_is_a_hundred_times_as_slow_loses_nobody(premises: Premises) -> None:
    with (
        distant(premises, conf=IMPATIENT, program=PROGRAM, runner=slow_disk.RUNNER) as cluster,
        fg.connect(cluster.address, conf=SHUFFLES) as session,
    ):

        def executors() -> set[str]:
            return {str(one.executor) for one in ask_status(cluster.address, None, 5.0).executors}

        eventually("both executors are there", lambda: len(executors()) == 2, within_s=20)
        before, since = executors(), time.monotonic()
        require_right(shuffled(session), within_s=60)
        assert time.monotonic() - since > 6 * slow_disk.PAUSE_S, "the disk is not slow"
        assert executors() == before


def test_a_driver_that_stops_reading_holds_up_nobody_and_nothing_grows(premises: Premises) -> None:
    with fg.connect("local-cluster[2,1,1024]", conf=SHUFFLES) as session:
        (scheduler,) = premises.running("flowgrid_scheduler")
        batches = session.range(ROWS).repartition(4).iter_batches()
        rows = next(batches).num_rows
        before = {p: p.memory_info().rss for p in (scheduler, psutil.Process())}
        for _ in range(3):
            require_right(shuffled(session), within_s=60)
        for process, rss_bytes in before.items():
            assert process.memory_info().rss - rss_bytes < GROWS_BYTES_MAX, process
        assert rows + sum(batch.num_rows for batch in batches) == ROWS
