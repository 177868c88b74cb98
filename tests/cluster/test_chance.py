"""Functions that draw: what is lost is made again as it was, or the job fails by name, never mixed."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pytest

import flowgrid as fg
from flowgrid import errors
from flowgrid.submit.client import ask_status
from tests.cluster.census import Premises
from tests.cluster.deadlines import eventually
from tests.cluster.heavy import SHUFFLES
from tests.cluster.standalone import Standalone, standalone

ROWS = 10_000
COUNTED = pa.schema({"k": pa.int64(), "n": pa.int64()})


def holds_one_of_the_last(folder: Path) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    """A function for the last stage: the task with key 0 waits, the others go on."""
    begun, goes_on = str(folder / "begun"), str(folder / "goes-on")

    def holds(batch: pa.RecordBatch) -> pa.RecordBatch:
        if 0 in batch.column(0).to_pylist():
            Path(begun).touch()
            while not os.path.exists(goes_on):
                time.sleep(0.01)
        return batch

    return holds


def unfinished(cluster: Standalone) -> int:
    (job,) = ask_status(cluster.address, None, 5.0).jobs
    return sum(stage.tasks - stage.succeeded for stage in job.stages)


def with_a_loss_in_the_middle(
    cluster: Standalone, counted: fg.DataFrame, folder: Path
) -> list[pa.Table | BaseException]:
    """The answer, or the error, of a job of which an executor is killed when one task of its last stage
    waits and the others have finished."""
    ends: list[pa.Table | BaseException] = []

    def run() -> None:
        try:
            held = counted.map_batches(holds_one_of_the_last(folder), schema=COUNTED)
            ends.append(held.collect())
        except BaseException as error:
            ends.append(error)

    job = threading.Thread(target=run)
    job.start()
    try:
        eventually("one task waits", (folder / "begun").exists, within_s=30)
        eventually("the others have finished", lambda: unfinished(cluster) == 1, within_s=30)
        cluster.kill_executor(2)
    finally:
        (folder / "goes-on").touch()
        job.join()
    return ends


@pytest.fixture
def cluster(premises: Premises) -> Iterator[Standalone]:
    with standalone(premises) as opened:
        yield opened


def test_what_the_kernel_draws_is_the_same_when_it_is_computed_again(
    cluster: Standalone, tmp_path: Path
) -> None:
    """`random()` as the key of a shuffle: rows go where they went before, or the job would fail."""
    with fg.connect(cluster.address, conf=SHUFFLES) as session:
        everybody_is_there(cluster)
        drawn = session.range(ROWS).repartition(4).select("CAST(random() * 8 AS BIGINT) AS k")
        counted = drawn.group_by("k").agg(fg.count().alias("n"))
        (answer,) = with_a_loss_in_the_middle(cluster, counted, tmp_path)
    assert isinstance(answer, pa.Table), answer
    assert sorted(answer["k"].to_pylist()) == list(range(9))
    assert sum(answer["n"].to_pylist()) == ROWS


@pytest.mark.parametrize("deterministic", [True, False])
def test_what_a_function_draws_anew_is_never_mixed_with_what_it_drew_before(
    cluster: Standalone, tmp_path: Path, deterministic: bool
) -> None:
    """Whether that was declared or not: a task that has read the old rows is part of the answer."""

    def draws(batch: pa.RecordBatch) -> pa.RecordBatch:
        return pa.record_batch({"k": [random.randrange(8) for _ in range(batch.num_rows)]})

    with fg.connect(cluster.address, conf=SHUFFLES) as session:
        everybody_is_there(cluster)
        schema = pa.schema({"k": pa.int64()})
        rows = session.range(ROWS).repartition(4)
        drawn = rows.map_batches(draws, schema=schema, deterministic=deterministic)
        counted = drawn.group_by("k").agg(fg.count().alias("n"))
        (end,) = with_a_loss_in_the_middle(cluster, counted, tmp_path)
        assert isinstance(end, errors.JobError), end
        assert end.kind == "indeterminate", end
        assert "stage 'draws, PartialAggregate" in str(end), "the operators are named"
        assert session.range(1_000).count() == 1_000, "the next job"


def everybody_is_there(cluster: Standalone) -> None:
    def registered() -> bool:
        return len(ask_status(cluster.address, None, 5.0).executors) == 2

    eventually("the executors are there", registered, within_s=20)
