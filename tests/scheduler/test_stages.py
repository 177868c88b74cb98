"""The tables below the core: attempts, retries, blocks, lineage, queues."""

from __future__ import annotations

from pathlib import Path

import pytest
from flowgrid_scheduler.attempts import LIVE, TRANSITIONS, AttemptState
from flowgrid_scheduler.block_catalog import BlockCatalog
from flowgrid_scheduler.executors import Departed, Executor
from flowgrid_scheduler.lineage import tasks_to_recompute
from flowgrid_scheduler.patience import STEP_MAX_S, PatientClock
from flowgrid_scheduler.retries import RULES, Budget, Tally, Verdict
from flowgrid_scheduler.stages import Stage, TaskState
from flowgrid_scheduler.task_queue import TaskQueue

from flowgrid.config import Config
from flowgrid.ids import AttemptId
from flowgrid.protocol.failures import FailureKind
from flowgrid.protocol.job_graph import Slice
from flowgrid.protocol.messages import (
    AttemptCancelled,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CancelAttempts,
    Fence,
    Heartbeat,
)
from flowgrid.protocol.reports import AttemptReport
from tests.scheduler.story import address, broadcast, executor_id, maps, one_to_one, reduces

COVERS = ["attempts", "retries", "block_catalog", "lineage", "executors", "jobs"]


def test_every_live_attempt_has_a_last_word_of_each_sort() -> None:
    for state in LIVE:
        for word in (AttemptSucceeded, AttemptFailed, AttemptCancelled, Fence):
            assert TRANSITIONS[state, word] > AttemptState.CANCELLING


def test_nothing_follows_a_last_word() -> None:
    assert not [state for state, _ in TRANSITIONS if state not in LIVE]


def test_the_readme_shows_the_table_as_it_is() -> None:
    readme = (Path(__file__).parents[2] / "scheduler" / "README.md").read_text(encoding="utf-8")
    rows = [
        f"| {state.name} | {word.__name__} | {after.name} |"
        for (state, word), after in TRANSITIONS.items()
    ]
    assert "\n".join(rows) in readme, "\n".join(rows)


def test_an_attempt_counts_until_its_last_word() -> None:
    executor = Executor(0, address(executor_id("a")), slots=2, awake_s=0.0)
    attempt = AttemptId(1, 0, 0, 0)
    executor.attempts[attempt] = AttemptState.ASSIGNED
    assert executor.step(attempt, AttemptStarted) is AttemptState.ASSIGNED
    assert executor.step(attempt, AttemptStarted) is None
    assert executor.step(attempt, CancelAttempts) is AttemptState.RUNNING
    assert executor.slots_free == 1
    assert executor.step(attempt, AttemptCancelled) is AttemptState.CANCELLING
    assert executor.slots_free == 2
    assert executor.step(attempt, AttemptSucceeded) is None


def test_every_kind_of_failure_has_a_rule() -> None:
    assert set(RULES) == set(FailureKind)


@pytest.mark.parametrize("kind", list(FailureKind))
def test_a_failure_that_counts_ends_at_its_limit(kind: FailureKind) -> None:
    tally, config = Tally(), Config()
    budget = RULES[kind].budget
    if budget is Budget.FREE:
        assert all(tally.judge(kind, config) is Verdict.RETRY for _ in range(100))
        return
    verdicts = [tally.judge(kind, config) for _ in range(budget.limit(config))]
    ends = (Verdict.FAIL, Verdict.POISON)
    assert verdicts[-1] in ends
    assert not any(verdict in ends for verdict in verdicts[:-1])


def test_budgets_are_apart() -> None:
    tally, config = Tally(), Config()
    for kind in (FailureKind.INTERNAL, FailureKind.USER_ERROR, FailureKind.PROCESS_DIED):
        assert tally.judge(kind, config) not in (Verdict.FAIL, Verdict.POISON)


def catalog(partitions: int, targets: int) -> BlockCatalog:
    """Partition p has 10 × p + t rows for target t, of 2 bytes each; all held by executor 5."""
    blocks = BlockCatalog(maps(partitions, targets))
    for p in range(partitions):
        rows = [10 * p + t for t in range(targets)]
        blocks.register(p, 0, 5, rows, [2 * n for n in rows], digest=p)
    return blocks


@pytest.mark.parametrize("targets", [1, 3])
def test_rows_of_a_slice_are_the_rows_of_its_blocks(targets: int) -> None:
    blocks = catalog(4, targets)
    for t0 in range(targets + 1):
        for t1 in range(t0, targets + 1):
            for p0 in range(5):
                for p1 in range(p0, 5):
                    expected = sum(10 * p + t for p in range(p0, p1) for t in range(t0, t1))
                    assert blocks.rows_in(Slice(t0, t1, p0, p1)) == expected
    assert blocks.rows_in(None) == blocks.rows_in(Slice(0, targets, 0, 4))
    assert blocks.statistics().total_bytes == 2 * blocks.statistics().total_rows


def test_what_is_known_of_a_lost_block_stays() -> None:
    blocks = catalog(2, 2)
    version = blocks.version
    blocks.unregister(1)
    assert blocks.version > version
    assert blocks.held_by(5) == [0]
    assert blocks.rows_in(None) == 22
    assert not blocks.differs(1, digest=1)
    assert blocks.differs(1, digest=2)


def test_readers_are_told_of_a_hole_by_minus_one() -> None:
    blocks = catalog(3, 1)
    blocks.unregister(1)
    outputs = blocks.outputs(lambda index: address(executor_id("a")))
    assert outputs.holders == (0, -1, 0)
    assert outputs.attempts == (0, -1, 0)
    assert blocks.outputs(lambda index: address(executor_id("b"))) is outputs, "made once"


def stages_all_done(*specs: object) -> list[Stage]:
    """Stages whose tasks have all succeeded on executor 0."""
    stages = [Stage(1, spec) for spec in specs]  # type: ignore[arg-type]
    for stage in stages:
        for partition in range(len(stage.states)):
            assert stage.queue.take(0, alone=True, steal=True) == partition
            targets = stage.spec.target_count
            ones = (1,) * targets
            stage.accept(stage.launch(partition), 0, AttemptReport((), ones, ones, 1))
        stage.reported = True
    return stages


def test_what_is_lost_and_read_by_nobody_stays_lost() -> None:
    first = maps(3)
    stages = stages_all_done(first, one_to_one(first))
    stages[0].lose([0, 2])
    assert tasks_to_recompute(stages, result=1) == {}


def test_the_result_wants_all_of_itself_and_its_lineage() -> None:
    first = maps(3)
    stages = stages_all_done(first, one_to_one(first))
    stages[0].lose([0, 2])
    stages[1].lose([1, 2])
    assert tasks_to_recompute(stages, result=1) == {0: [2], 1: [1, 2]}


def test_a_shuffle_wants_every_producer_for_a_single_reader() -> None:
    first = maps(3, targets=2)
    stages = stages_all_done(first, reduces(2, first))
    stages[0].lose([0, 2])
    stages[1].lose([1])
    assert tasks_to_recompute(stages, result=1) == {0: [0, 2], 1: [1]}


def test_a_broadcast_wants_everything() -> None:
    first = maps(3)
    stages = stages_all_done(first, broadcast(2, first))
    stages[0].lose([0, 1, 2])
    stages[1].lose([0])
    assert tasks_to_recompute(stages, result=1) == {0: [0, 1, 2], 1: [0]}


def test_while_the_graph_may_grow_only_unfinished_readers_want_anything() -> None:
    stages = stages_all_done(maps(3))
    stages[0].lose([1])
    assert tasks_to_recompute(stages, result=None) == {}
    stages[0].reported = False
    assert tasks_to_recompute(stages, result=None) == {0: [1]}


def test_an_attempt_number_is_never_given_twice() -> None:
    stage = Stage(1, maps(1))
    numbers = []
    for _ in range(5):
        partition = stage.queue.take(0, alone=True, steal=True)
        assert partition is not None
        attempt = stage.launch(partition)
        assert stage.is_current(attempt)
        numbers.append(attempt.number)
        stage.put_back(attempt)
        assert not stage.is_current(attempt)
    assert numbers == [0, 1, 2, 3, 4]
    assert stage.states[0] == TaskState.PENDING


def test_a_returned_task_avoids_an_executor_unless_it_is_alone() -> None:
    queue = TaskQueue(1)
    assert queue.take(0, alone=False, steal=True) == 0
    queue.put_back(0, avoid=3)
    assert queue.take(3, alone=False, steal=True) is None
    assert queue.has_for(3, alone=True)
    assert not queue.has_for(3, alone=False)
    assert queue.take(4, alone=False, steal=True) == 0
    queue.put_back(0, avoid=3)
    assert queue.take(3, alone=True, steal=True) == 0


def test_the_line_of_a_lost_executor_is_anybodys() -> None:
    queue = TaskQueue(4)
    queue.prefer({0: 7, 1: 8, 2: 7})
    assert queue.take(8, alone=False, steal=False) == 1
    assert queue.take(8, alone=False, steal=False) == 3
    assert queue.take(8, alone=False, steal=False) is None
    queue.forget(7)
    assert queue.take(8, alone=False, steal=False) == 0
    assert len(queue) == 1


def test_a_patient_clock_takes_one_step_of_any_gap() -> None:
    clock = PatientClock()
    clock.advance(1000.0)
    clock.advance(1000.4)
    assert clock.awake_s == pytest.approx(0.4)
    clock.advance(5000.0)
    clock.advance(4000.0)
    assert clock.awake_s == pytest.approx(0.4 + STEP_MAX_S)


def test_an_overdue_word_is_a_complaint() -> None:
    executor = Executor(0, address(executor_id("a")), slots=1, awake_s=0.0)
    executor.received = 3
    executor.beat(Heartbeat(executor.id, sent=5, received=0), awake_s=1.0)
    assert executor.complaint(2.0, timeout_s=10) == ""
    executor.beat(Heartbeat(executor.id, sent=6, received=0), awake_s=3.5)
    assert "never came" in executor.complaint(3.5, timeout_s=10)
    executor.received = 5
    assert executor.complaint(3.5, timeout_s=10) == ""


def test_the_departed_are_remembered_within_a_bound() -> None:
    departed: Departed[int] = Departed()
    for number in range(10_005):
        departed.add(number)
    assert 4 not in departed
    assert 5 in departed
    assert 10_004 in departed


def test_attempts_are_counted_across_schedulers_and_not_by_their_numbers() -> None:
    stage = Stage(1, maps(4))
    stage.restore([(0, True), (1, False)], first_attempt=1 << 16)
    assert stage.status().attempts == 2
    stage.adopt(AttemptId(1, 0, 2, 7))
    stage.launch(3)
    assert stage.status().attempts == 4
