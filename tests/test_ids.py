"""Names nest when printed, and none is equal to another."""

from __future__ import annotations

from flowgrid.ids import AttemptId, ExecutorId, JobId, StageId, TaskId


def test_names_nest() -> None:
    attempt = AttemptId(7, 2, 13, 1)
    assert str(attempt) == "job-7/stage-2/task-13#1"
    assert str(attempt.task) == "job-7/stage-2/task-13"
    assert str(attempt.stage_id) == "job-7/stage-2"
    assert str(JobId(7)) == "job-7"


def test_names_of_different_things_are_never_equal() -> None:
    names = {JobId(1), StageId(1, 0), TaskId(1, 0, 0), AttemptId(1, 0, 0, 0)}
    assert len(names) == 4


def test_attempts_sort_by_task_and_then_by_number() -> None:
    later, earlier = AttemptId(1, 0, 0, 1), AttemptId(1, 0, 0, 0)
    other = AttemptId(1, 0, 1, 0)
    assert sorted([other, later, earlier]) == [earlier, later, other]


def test_an_executor_that_starts_again_is_another_one() -> None:
    assert ExecutorId("a", 1) != ExecutorId("a", 2)
    assert str(ExecutorId("a", 255)) == "a@00000000000000ff"
