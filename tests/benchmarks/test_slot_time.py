"""The arithmetic of a loss: what was lost, what it cost, and what waiting costs."""

from __future__ import annotations

import pytest
from flowgrid_scheduler.events import Event, ExecutorUnreachable

from benchmarks.slot_time import Cost, JobRecord, read_job
from flowgrid.ids import AttemptId, ExecutorId, JobId
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.job_graph import OutputKind, StageInput, StageSpec
from flowgrid.protocol.messages import (
    AddStages,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    DriverEnvelope,
    ExecutorEnvelope,
    FromExecutor,
    SubmitJob,
)
from flowgrid.protocol.reports import AttemptReport

MAP = StageSpec(0, "map", 2, OutputKind.BLOCKS, target_count=2)
REDUCE = StageSpec(1, "reduce", 2, OutputKind.BLOCKS, inputs=(StageInput(0),))
FINAL = StageSpec(2, "final", 1, OutputKind.BLOCKS, inputs=(StageInput(1),))


def attempt(stage: int, partition: int, number: int = 0) -> AttemptId:
    return AttemptId(1, stage, partition, number)


def said(executor: str, *words: FromExecutor) -> ExecutorEnvelope:
    return ExecutorEnvelope(ExecutorId(executor, 1), 0, words)


def succeeded(executor: str, name: AttemptId, run_s: float) -> ExecutorEnvelope:
    report = AttemptReport((), run_s=run_s, cpu_s=run_s / 2)
    return said(executor, AttemptSucceeded(name, report))


def submitted(*stages: StageSpec) -> DriverEnvelope:
    return DriverEnvelope("driver", 0, (SubmitJob(0, "", stages, True),))


LOSS = ExecutorUnreachable(ExecutorId("b", 1))

STORY: list[tuple[float, Event]] = [
    (10.0, submitted(MAP, REDUCE)),
    (12.0, succeeded("a", attempt(0, 0), 2.0)),
    (12.0, succeeded("b", attempt(0, 1), 1.5)),
    (12.0, said("a", AttemptStarted(attempt(1, 0)))),
    (12.5, said("b", AttemptStarted(attempt(1, 1)))),
    (13.5, LOSS),
    (14.0, said("a", AttemptFailed(attempt(1, 0), Failure(FailureKind.FETCH_FAILED, "")))),
    (15.5, succeeded("a", attempt(0, 1, 1), 1.5)),
    (16.5, succeeded("a", attempt(1, 0, 1), 1.0)),
    (17.5, succeeded("a", attempt(1, 1, 1), 1.0)),
]


def test_lost_is_what_was_done_there_and_is_needed_and_what_ran_there_until_the_kill() -> None:
    record = read_job(STORY, "b", killed_s=13.0)
    assert [one.attempt for one in record.lost_successes("b")] == [attempt(0, 1)]
    assert record.lost_work_s("b") == 1.5
    assert record.thrown_away_s == 0.5, "until the kill; that it was noticed late is no work"


def test_what_failed_on_the_survivor_is_work_but_not_lost() -> None:
    record = read_job(STORY, "b", killed_s=13.0)
    assert record.failed_s == 2.0
    assert record.work_s == 2.0 + 1.5 + 0.5 + 2.0 + 1.5 + 1.0 + 1.0
    assert record.cpu_s == 3.5
    assert record.needless("b") == 0


def test_slots_cost_time_while_they_wait() -> None:
    record = read_job(STORY, "b", killed_s=13.0)
    assert record.slot_time_s(2, 1) == 2 * 3.5 + 1 * 4.0
    undisturbed = read_job(STORY[:3], "b")
    assert undisturbed.slot_time_s(2, 1) == 2 * 2.0


def test_a_stage_that_was_read_for_the_last_time_is_no_loss() -> None:
    read = [
        *((11.0 + number, succeeded("b", attempt(0, number), 1.0)) for number in range(2)),
        *((13.0 + number, succeeded("a", attempt(1, number), 1.0)) for number in range(2)),
    ]
    record = read_job([(10.0, submitted(MAP, REDUCE, FINAL)), *read, (15.0, LOSS)], "b")
    assert record.lost_successes("b") == []


def test_a_loss_is_followed_back_to_what_its_recompute_reads() -> None:
    read = [
        *((11.0 + number, succeeded("b", attempt(0, number), 1.0)) for number in range(2)),
        (13.0, succeeded("a", attempt(1, 0), 1.0)),
        (14.0, succeeded("b", attempt(1, 1), 1.0)),
    ]
    record = read_job([(10.0, submitted(MAP, REDUCE, FINAL)), *read, (15.0, LOSS)], "b")
    assert {one.attempt for one in record.lost_successes("b")} == {
        attempt(1, 1),
        attempt(0, 0),
        attempt(0, 1),
    }


def test_a_stage_whose_readers_are_not_planned_yet_is_needed() -> None:
    events: list[tuple[float, Event]] = [
        (10.0, submitted(MAP)),
        (11.0, succeeded("b", attempt(0, 0), 1.0)),
        (11.0, succeeded("b", attempt(0, 1), 1.0)),
        (11.5, LOSS),
    ]
    assert read_job(events, "b").lost_work_s("b") == 2.0
    grown = DriverEnvelope("driver", 1, (AddStages(JobId(1), (REDUCE,), True),))
    assert read_job([*events, (12.0, grown)], "b").lost_work_s("b") == 2.0


def test_doing_again_what_was_not_lost_is_needless() -> None:
    record = read_job([*STORY, (18.0, succeeded("a", attempt(0, 0, 1), 1.0))], "b")
    assert record.needless("b") == 1


def test_only_the_last_job_counts() -> None:
    record = read_job([*STORY, (20.0, submitted(MAP))], "b")
    assert record == JobRecord(20.0, stages={0: MAP})


def test_a_cost_is_between_medians_and_part_of_the_undisturbed() -> None:
    cost = Cost.of([10.0, 9.0, 30.0], [13.0, 50.0, 12.0], [2.0, 1.0, 9.0])
    assert (cost.undisturbed_s, cost.cost_s, cost.lost_s) == (10.0, 3.0, 2.0)
    assert cost.beyond_lost_percent == pytest.approx(10.0)
