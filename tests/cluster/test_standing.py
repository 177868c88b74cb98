"""Executors that are slow, that kill their slots, or that leave: somebody else does their work."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

import flowgrid as fg
from flowgrid import errors
from flowgrid.cli.main import main
from flowgrid.protocol.departures import BlocksCopied
from flowgrid.submit.client import ask_status
from tests.cluster.assassin import RECORDED, attempts_started, journal_of, said_by_executors
from tests.cluster.census import Premises
from tests.cluster.deadlines import eventually
from tests.cluster.standalone import Standalone, standalone

SCHEMA = pa.schema({"id": pa.int64()})
TASKS = {"planner.force_exchanges": "true", "planner.partitions": "8"}
Function = Callable[[pa.RecordBatch], pa.RecordBatch]


def spread(session: fg.Session, function: Function) -> fg.DataFrame:
    """A thousand numbers in eight tasks, each through a function, then grouped: two stages."""
    mapped = session.range(1_000).repartition(8).map_batches(function, schema=SCHEMA)
    return mapped.group_by((fg.col("id") % 10).alias("k")).agg(fg.count().alias("n"))


def require_right(answer: pa.Table) -> None:
    assert sorted(answer.to_pylist(), key=lambda row: row["k"]) == [
        {"k": k, "n": 100} for k in range(10)
    ]


def meeting(folder: Path) -> Function:
    """A function that goes on when slots of two executors run it: each of them then has a block."""
    folder.mkdir()

    def meets(batch: pa.RecordBatch) -> pa.RecordBatch:
        (folder / str(os.getppid())).touch()
        while len(os.listdir(folder)) < 2:
            time.sleep(0.01)
        return batch

    return meets


def held_back(frame: fg.DataFrame, begun: Path, goes_on: Path) -> fg.DataFrame:
    """The same rows, whose tasks say that they have begun and then wait."""
    here, there = str(begun), str(goes_on)

    def holds(batch: pa.RecordBatch) -> pa.RecordBatch:
        Path(here).touch()
        while not os.path.exists(there):
            time.sleep(0.01)
        return batch

    return frame.map_batches(holds, schema=pa.schema({"k": pa.int64(), "n": pa.int64()}))


def test_a_slot_that_stands_still_gets_a_rival(premises: Premises, tmp_path: Path) -> None:
    stopped = str(tmp_path / "stopped")

    def stands_still_once(batch: pa.RecordBatch) -> pa.RecordBatch:
        if batch.num_rows and 500 in batch.column(0).to_pylist():
            try:
                os.close(os.open(stopped, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return batch
            os.kill(os.getpid(), signal.SIGSTOP)
        return batch

    conf = {**TASKS, "speculation.run_s_min": "1"}
    with (
        standalone(premises, conf=RECORDED) as cluster,
        fg.connect(cluster.address, conf=conf) as session,
    ):
        everybody_is_there(cluster, 2)
        begun = time.monotonic()
        require_right(spread(session, stands_still_once).collect())
        assert Path(stopped).exists()
        assert time.monotonic() - begun < 20
        begun_tasks = [attempt.task for attempt in attempts_started(journal_of(premises))]
        assert len(begun_tasks) == len(set(begun_tasks)) + 1, "one task had a rival"


def test_an_executor_that_kills_its_slots_is_excluded(
    premises: Premises, capsys: pytest.CaptureFixture[str]
) -> None:
    def dies_on_the_second(batch: pa.RecordBatch) -> pa.RecordBatch:
        executor = psutil.Process(os.getppid()).parent()
        if executor is not None and "executor-2" in executor.cmdline():
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.2)
        return batch

    with (
        standalone(premises, conf=RECORDED) as cluster,
        fg.connect(cluster.address, conf=TASKS) as session,
    ):
        everybody_is_there(cluster, 2)
        for _ in range(3):
            require_right(spread(session, dies_on_the_second).collect())
        found = {one.executor.name: one for one in ask_status(cluster.address, None, 5.0).executors}
        assert "process_died" in found["executor-2"].excluded
        assert not found["executor-1"].excluded
        assert main(["status", "--scheduler", cluster.address]) == 0
        assert "executor-2 gets no new attempts" in capsys.readouterr().out


def takers(premises: Premises) -> set[str]:
    """Executors that have blocks of others now."""
    words = said_by_executors(journal_of(premises))
    return {name for name, word in words if isinstance(word, BlocksCopied)}


def test_an_executor_leaves_under_load_and_no_task_runs_again(
    premises: Premises, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun, goes_on = tmp_path / "begun", tmp_path / "goes-on"
    answers: list[pa.Table] = []
    with (
        standalone(premises, conf=RECORDED) as cluster,
        fg.connect(cluster.address, conf=TASKS) as session,
    ):
        everybody_is_there(cluster, 2)
        held = held_back(spread(session, meeting(tmp_path / "met")), begun, goes_on)
        waiting = threading.Thread(target=lambda: answers.append(held.collect()))
        waiting.start()
        eventually("the second stage runs", begun.exists, within_s=30)

        for _ in range(2):
            assert decommission(cluster, "executor-2") == 0
        assert "leaves" in capsys.readouterr().out
        goes_on.touch()
        waiting.join(30)
        require_right(answers[0])
        assert cluster.executors[1].wait(20) == 0

        launched = attempts_started(journal_of(premises))
        assert len(launched) == len({attempt.task for attempt in launched}), "a task ran again"
        assert takers(premises) == {"executor-1"}
        assert decommission(cluster, "executor-2") == 0
        assert "has left already" in capsys.readouterr().out
        assert decommission(cluster, "executor-3") == 1
        assert "known: executor-1@" in capsys.readouterr().err
        require_right(spread(session, lambda batch: batch).collect())


def test_when_everybody_is_to_leave_who_comes_takes_over_all_that_was_done(
    premises: Premises, tmp_path: Path
) -> None:
    begun, goes_on = tmp_path / "begun", tmp_path / "goes-on"
    answers: list[pa.Table] = []
    with (
        standalone(premises, conf=RECORDED) as cluster,
        fg.connect(cluster.address, conf=TASKS) as session,
    ):
        everybody_is_there(cluster, 2)
        held = held_back(spread(session, meeting(tmp_path / "met")), begun, goes_on)
        waiting = threading.Thread(target=lambda: answers.append(held.collect()))
        waiting.start()
        eventually("the second stage runs", begun.exists, within_s=30)

        for name in ("executor-1", "executor-2"):
            assert decommission(cluster, name) == 0
        cluster.start_executor("executor-3")
        eventually("who comes takes over", lambda: "executor-3" in takers(premises), within_s=30)
        goes_on.touch()
        waiting.join(30)
        require_right(answers[0])
        assert [executor.wait(20) for executor in cluster.executors] == [0, 0]
        launched = attempts_started(journal_of(premises))
        assert len(launched) == len({attempt.task for attempt in launched}), "a task ran again"
        require_right(spread(session, lambda batch: batch).collect())


def test_when_everybody_leaves_and_nobody_comes_the_job_fails_by_name_in_time(
    premises: Premises, tmp_path: Path
) -> None:
    begun, goes_on = tmp_path / "begun", tmp_path / "goes-on"
    conf = {**TASKS, "scheduler.no_executors_grace_s": "2"}
    failures: list[BaseException] = []

    def collect() -> None:
        try:
            held.collect()
        except errors.JobError as error:
            failures.append(error)

    with standalone(premises) as cluster, fg.connect(cluster.address, conf=conf) as session:
        everybody_is_there(cluster, 2)
        held = held_back(spread(session, meeting(tmp_path / "met")), begun, goes_on)
        waiting = threading.Thread(target=collect)
        waiting.start()
        eventually("the second stage runs", begun.exists, within_s=30)

        for name in ("executor-1", "executor-2"):
            assert decommission(cluster, name) == 0
        goes_on.touch()
        waiting.join(10)
        assert not waiting.is_alive()
        assert "there is no executor, and none came within 2 s" in str(failures[0])
        assert [executor.wait(20) for executor in cluster.executors] == [0, 0]


@pytest.mark.parametrize("name", ["executor-1", "executor-3"])
def test_who_comes_before_the_grace_is_over_does_what_all_the_dead_had_begun(
    premises: Premises, tmp_path: Path, name: str
) -> None:
    """Under the name of a dead one, too: it is somebody else, and has nothing of it."""
    begun, goes_on = tmp_path / "begun", tmp_path / "goes-on"
    answers: list[pa.Table] = []
    with standalone(premises) as cluster, fg.connect(cluster.address, conf=TASKS) as session:
        everybody_is_there(cluster, 2)
        held = held_back(spread(session, lambda batch: batch), begun, goes_on)
        waiting = threading.Thread(target=lambda: answers.append(held.collect()))
        waiting.start()
        eventually("the second stage runs", begun.exists, within_s=30)
        for number in (1, 2):
            cluster.kill_executor(number)
        cluster.start_executor(name)
        goes_on.touch()
        waiting.join(60)
        require_right(answers[0])
        require_right(spread(session, lambda batch: batch).collect())


def decommission(cluster: Standalone, name: str) -> int:
    return main(["decommission", name, "--scheduler", cluster.address])


def everybody_is_there(cluster: Standalone, count: int) -> None:
    def registered() -> bool:
        return len(ask_status(cluster.address, None, 5.0).executors) == count

    eventually("the executors are there", registered, within_s=20)
