"""kill -9 of the scheduler in the middle of a job: it starts again, and does what was not done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

import flowgrid as fg
from tests.cluster.assassin import (
    RECORDED,
    Assassin,
    after_tasks,
    attempts_started,
    journals_of,
    succeeded_tasks,
)
from tests.cluster.census import Premises
from tests.cluster.deadlines import eventually
from tests.cluster.standalone import Standalone, standalone

SHUFFLES = {
    **RECORDED,
    "planner.force_exchanges": "true",
    "planner.partitions": "24",
    "planner.split_bytes": "256k",
}
LASTS_AT_MOST_S = 40.0
"""Far more than the job and one death take, on a machine that does much else."""

Register = Callable[[fg.Session], None]


def orders_by_size(session: fg.Session) -> pa.Table:
    """Two shuffles, the first of them of everything."""
    text = """
        SELECT n, count(*) AS orders, sum(quantity) AS quantity, sum(price) AS price FROM (
            SELECT l_orderkey, count(*) AS n, sum(l_quantity) AS quantity,
                sum(l_extendedprice) AS price FROM lineitem GROUP BY l_orderkey
        ) GROUP BY n
    """
    return session.sql(text).collect().sort_by("n")


def require_only_unfinished_work(journals: list[Path]) -> None:
    """What succeeded in one life of the scheduler is not begun in a later one."""
    done: set[object] = set()
    for journal in journals:
        started = {attempt.task for attempt in attempts_started(journal)}
        assert not started & done, f"{started & done} ran again"
        done |= succeeded_tasks(journal)


@pytest.mark.parametrize("finished_before", [1, 8, 16])
def test_a_session_survives_its_scheduler(
    premises: Premises, open_tpch: Register, finished_before: int
) -> None:
    with fg.connect("local-cluster[2,1,1024]", conf=SHUFFLES) as session:
        open_tpch(session)
        answer = orders_by_size(session)
        (scheduler,) = premises.running("flowgrid_scheduler")
        (journal,) = journals_of(premises)
        moment = after_tasks(len(succeeded_tasks(journal)) + finished_before)
        started_at = time.monotonic()
        with Assassin(premises, moment, lambda: scheduler) as assassin:
            again = orders_by_size(session)
        took_s = time.monotonic() - started_at
        assert assassin.struck, "the job was over before the scheduler was killed"

        assert again.equals(answer)
        assert took_s < LASTS_AT_MOST_S
        journals = journals_of(premises)
        assert len(journals) == 2
        require_only_unfinished_work(journals)
        assert orders_by_size(session).equals(answer), "the next job"


def test_a_session_survives_many_schedulers(premises: Premises, open_tpch: Register) -> None:
    with fg.connect("local-cluster[2,1,1024]", conf=SHUFFLES) as session:
        open_tpch(session)
        answer = orders_by_size(session)
        killed: set[int] = set()
        for _ in range(4):
            (victim,) = eventually(
                "there is a scheduler", lambda: premises.running("flowgrid_scheduler")
            )
            assert victim.pid not in killed
            killed.add(victim.pid)
            victim.kill()
            assert orders_by_size(session).equals(answer)


@pytest.fixture
def cluster(premises: Premises) -> Iterator[Standalone]:
    with standalone(premises, conf=RECORDED) as opened:
        yield opened


def test_a_standalone_cluster_survives_its_scheduler(
    premises: Premises, open_tpch: Register, cluster: Standalone
) -> None:
    with fg.connect(cluster.address, conf=SHUFFLES) as session:
        open_tpch(session)
        answer = orders_by_size(session)
        (journal,) = journals_of(premises)
        moment = after_tasks(len(succeeded_tasks(journal)) + 8)
        scheduler = psutil.Process(cluster.scheduler.pid)
        with Assassin(premises, moment, lambda: scheduler, cluster.restart_scheduler) as assassin:
            again = orders_by_size(session)
        assert assassin.struck, "the job was over before the scheduler was killed"
        assert again.equals(answer)
        journals = journals_of(premises)
        assert len(journals) == 2
        require_only_unfinished_work(journals)
    with fg.connect(cluster.address) as session:
        assert session.range(100).count() == 100, "the next driver"


def test_a_scheduler_that_does_not_come_back_is_an_error_by_name(
    cluster: Standalone,
) -> None:
    with fg.connect(cluster.address, conf={"submit.reconnect_s": "1"}) as session:
        assert session.range(10).count() == 10
        cluster.scheduler.kill()
        started_at = time.monotonic()
        with pytest.raises(fg.FlowGridError, match=r"is gone.*submit\.reconnect_s"):
            session.range(10).count()
        assert time.monotonic() - started_at < 10


def test_a_driver_of_another_log_is_told_so(premises: Premises, cluster: Standalone) -> None:
    with fg.connect(cluster.address) as session:
        assert session.range(10).count() == 10
        cluster.scheduler.kill()
        cluster.scheduler.wait()
        for path in (premises.folder.parent / "state").glob("jobs.sqlite*"):
            path.unlink()
        cluster.restart_scheduler()
        with pytest.raises(fg.FlowGridError, match="started anew, without its log"):
            session.range(10).count()


def test_without_a_log_losing_the_scheduler_is_an_error_by_name(premises: Premises) -> None:
    with fg.connect("local[1]") as session:
        assert session.range(10).count() == 10
        (scheduler,) = premises.running("flowgrid_scheduler")
        scheduler.kill()
        with pytest.raises(fg.FlowGridError, match="scheduler of the local cluster has ended"):
            session.range(10).count()
