"""kill -9 in the middle of a job: the right answer, and only what was lost runs again."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import duckdb
import psutil
import pyarrow as pa
import pytest

import flowgrid as fg
from benchmarks.answers import require_equal, sort_columns
from benchmarks.datasets import TPCH_TABLES
from benchmarks.tpch.texts import query_text
from tests.cluster.assassin import (
    RECORDED,
    Assassin,
    a_slot_of,
    after_success_of,
    attempts_started,
    executor_name,
    journal_of,
    needless_attempts,
    successes_of,
)
from tests.cluster.census import Premises

MANY_TASKS = {
    **RECORDED,
    "planner.force_exchanges": "true",
    "planner.partitions": "6",
    "planner.split_bytes": "256k",
}
"""Long enough, in tasks, to have a middle."""

Register = Callable[[fg.Session], None]


@pytest.fixture(scope="module")
def reference(tpch_data: Path) -> Callable[[int], pa.Table]:
    def answer(number: int) -> pa.Table:
        with duckdb.connect() as connection:
            for table in TPCH_TABLES:
                path = tpch_data / f"{table}.parquet"
                connection.sql(f"CREATE VIEW {table} AS FROM read_parquet('{path}')")
            return connection.sql(query_text(number)).to_arrow_table()

    return answer


@pytest.mark.parametrize("number", [9, 18])
@pytest.mark.parametrize("finished_before", [1, 4, 7])
def test_losing_one_of_two_executors_reruns_only_what_it_held(
    premises: Premises,
    open_tpch: Register,
    reference: Callable[[int], pa.Table],
    number: int,
    finished_before: int,
) -> None:
    text = query_text(number)
    with fg.connect("local-cluster[2,1,2048]", conf=MANY_TASKS) as session:
        open_tpch(session)
        session.range(10).count()  # everybody is up
        victim = premises.running("flowgrid_executor")[1]
        name = executor_name(victim)
        before = successes_of(name, journal_of(premises))
        moment = after_success_of(name, before + finished_before)
        with Assassin(premises, moment, lambda: victim) as assassin:
            answer = session.sql(text).collect()
        assert assassin.struck, "the job was over before anybody was killed"

        require_equal(answer, reference(number), sort_columns(text))
        journal = journal_of(premises)
        assert any(attempt.number > 0 for attempt in attempts_started(journal))
        assert needless_attempts(journal, lost=name) == []


def test_losing_a_slot_costs_one_attempt_and_no_executor(
    premises: Premises, open_tpch: Register, reference: Callable[[int], pa.Table]
) -> None:
    text = query_text(18)
    with fg.connect("local-cluster[2,1,2048]", conf=MANY_TASKS) as session:
        open_tpch(session)
        session.range(10).count()  # everybody is up
        executors = premises.running("flowgrid_executor")
        name = executor_name(executors[0])
        moment = after_success_of(name, successes_of(name, journal_of(premises)) + 3)
        with Assassin(premises, moment, lambda: a_slot_of(executors[0])) as assassin:
            answer = session.sql(text).collect()
        assert assassin.struck, "the job was over before anybody was killed"

        require_equal(answer, reference(18), sort_columns(text))
        assert needless_attempts(journal_of(premises), lost="nobody") == []
        assert all(psutil.pid_exists(executor.pid) for executor in executors)


def test_losing_every_executor_is_an_error_by_name(premises: Premises) -> None:
    conf = {"scheduler.no_executors_grace_s": "1"}
    with fg.connect("local-cluster[2,1,1024]", conf=conf) as session:
        assert session.range(10).count() == 10
        for executor in premises.running("flowgrid_executor"):
            executor.kill()
        with pytest.raises(fg.errors.NoExecutorsError, match="executor"):
            session.range(1_000).group_by("id").agg(fg.count().alias("n")).collect()
