"""`flowgrid why` on a real cluster: a job that is held up says by whom."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest

import flowgrid as fg
from flowgrid.cli.main import main
from tests.cluster.census import moved_in
from tests.cluster.deadlines import eventually
from tests.cluster.standalone import standalone

pytestmark = pytest.mark.cluster


def test_a_job_that_is_held_up_says_by_which_task_and_where(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun, goes_on = str(tmp_path / "begun"), str(tmp_path / "goes-on")

    def holds(batch: pa.RecordBatch) -> pa.RecordBatch:
        Path(begun).touch()
        while not Path(goes_on).exists():
            time.sleep(0.01)
        return batch

    def ask(*options: str) -> str:
        assert main(["why", "job-1", "--scheduler", cluster.address, *options]) == 0
        return capsys.readouterr().out

    with (
        moved_in() as premises,
        standalone(premises, executors=1) as cluster,
        fg.connect(cluster.address) as session,
    ):
        held = session.range(10).map_batches(holds, schema=pa.schema({"id": pa.int64()}))
        waiting = threading.Thread(target=held.collect)
        waiting.start()
        try:
            eventually("it runs", Path(begun).exists, within_s=30)
            eventually("its heartbeats tell", lambda: "computing" in ask())
            words = ask()
            assert "job-1 waits for stage 0" in words
            assert "task 0, running on executor-1 for" in words
            assert "[executor executor-1, at most" in words
            *_, last = json.loads(ask("--json"))
            assert (last["kind"], last["owner"]) == ("attempt", "executor executor-1")
            assert main(["why", "7", "--scheduler", cluster.address]) == 1
            assert "has no job-7: there is job-1" in capsys.readouterr().err
        finally:
            Path(goes_on).touch()
            waiting.join()
