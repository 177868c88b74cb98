"""Safeguards, each with a way to switch it off and the climate in which that must be noticed.

Nothing in the product knows of this: a safeguard is switched off by putting another function in its
place. A simulator that does not notice could not find the bug that does the same by accident.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from flowgrid_executor import core, slot_memory
from flowgrid_executor.core import ExecutorCore
from flowgrid_executor.directories import LocalDirectories
from flowgrid_executor.events import Action, DropJobBlocks, SlotOverran
from flowgrid_executor.executor_setup import ExecutorSetup
from flowgrid_executor.scheduler_link import SchedulerLink
from flowgrid_executor.slot_state import Slot
from flowgrid_scheduler import (
    departures,
    drivers,
    exclusion,
    outcomes,
    recovery,
    roll_call,
    session_ends,
    snapshots,
    speculation,
)
from flowgrid_scheduler.block_catalog import BlockCatalog
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.core import SchedulerCore
from flowgrid_scheduler.executors import Executor, Executors
from flowgrid_scheduler.jobs import Job
from flowgrid_scheduler.stages import Stage, TaskState
from flowgrid_scheduler.task_queue import TaskQueue
from msgspec import structs

from flowgrid.ids import AttemptId, JobId
from flowgrid.protocol.failures import Failure
from flowgrid.protocol.messages import ExecutorEnvelope, Heartbeat, ToExecutorEnvelope
from flowgrid.submit.session_link import SessionLink
from tests.simulation import executors
from tests.simulation.disks import BlockFile
from tests.simulation.faults import Fault
from tests.simulation.schedulers import MemoryLog, Moment, SimScheduler

Patch = pytest.MonkeyPatch


@dataclasses.dataclass(frozen=True, slots=True)
class Ablation:
    """`switch_off` patches; `climate` are the faults that the safeguard is there for."""

    switch_off: Callable[[Patch], None]
    climate: tuple[Fault, ...]

    @property
    def name(self) -> str:
        return self.switch_off.__name__


def attempt_numbers_are_ignored(patch: Patch) -> None:
    def is_current(stage: Stage, attempt: AttemptId) -> bool:
        return stage.states[attempt.partition] == TaskState.LIVE

    def put_back(stage: Stage, attempt: AttemptId, avoid: int | None = None) -> None:
        stage.contenders[attempt.partition] = [attempt.number]
        put_back_one(stage, attempt, avoid)

    put_back_one = Stage.put_back
    patch.setattr(Stage, "is_current", is_current)
    patch.setattr(Stage, "put_back", put_back)


def rows_read_are_not_counted(patch: Patch) -> None:
    patch.setattr(outcomes, "_check_report", lambda *_: None)


def digests_are_not_compared(patch: Patch) -> None:
    patch.setattr(BlockCatalog, "differs", lambda *_: False)


def readers_are_not_rolled_back(patch: Patch) -> None:
    patch.setattr(outcomes, "_roll_back_readers", lambda *_: True)


def blocks_outlive_their_executor(patch: Patch) -> None:
    patch.setattr(Stage, "held_by", lambda *_: [])


def who_is_lost_is_not_fenced(patch: Patch) -> None:
    patch.setattr(executors, "LEASE_SHARE", 1e9)  # nor does it know by itself
    patch.setattr(ClusterState, "fence", lambda *_: None)
    patch.setattr(SchedulerCore, "_fence_stranger", lambda *_: None)


def silence_is_not_noticed(patch: Patch) -> None:
    patch.setattr(recovery, "check_silence", lambda *_: None)


def drivers_have_no_lease(patch: Patch) -> None:
    patch.setattr(session_ends, "check_leases", lambda *_: None)


def old_news_of_blocks_is_believed(patch: Patch) -> None:
    lose_block = recovery._lose_block

    def believe(state: ClusterState, job: Job, stage: Stage, failure: Failure, place: str) -> bool:
        assert failure.fetch is not None
        partition = failure.fetch.producer.partition
        number = stage.blocks.attempts[partition]
        if stage.spec.given is None and number >= 0:
            stage.lose([partition])
            return True
        return lose_block(state, job, stage, failure, place)

    patch.setattr(recovery, "_lose_block", believe)


def the_scheduler_ignores_gaps(patch: Patch) -> None:
    spoke = SchedulerCore._executor_spoke

    def ignore(core: SchedulerCore, envelope: ExecutorEnvelope) -> None:
        executor = core.state.executors.alive.get(envelope.executor)
        if executor is not None:
            executor.received = max(executor.received, envelope.sequence)
        spoke(core, envelope)

    patch.setattr(SchedulerCore, "_executor_spoke", ignore)


def executors_ignore_gaps(patch: Patch) -> None:
    open_envelope = SchedulerLink._open

    def ignore(link: SchedulerLink, envelope: ToExecutorEnvelope) -> Sequence[Any]:
        link._received = max(link._received, envelope.sequence)
        return open_envelope(link, envelope)

    patch.setattr(SchedulerLink, "_open", ignore)


def heartbeats_promise_nothing(patch: Patch) -> None:
    def beat(executor: Executor, heartbeat: Heartbeat, awake_s: float) -> None:
        executor.heard_s = awake_s

    patch.setattr(Executor, "beat", beat)


def jobs_are_dropped_while_slots_still_write(patch: Patch) -> None:
    drop_job = ExecutorCore._drop_job

    def drop_at_once(core: ExecutorCore, job: JobId) -> list[Action]:
        actions = [action for action in drop_job(core, job) if action != DropJobBlocks(job)]
        core._dropping.discard(job)
        return [*actions, DropJobBlocks(job)]

    patch.setattr(ExecutorCore, "_drop_job", drop_at_once)
    patch.setattr(ExecutorCore, "_bury", _bury_without_dropping(ExecutorCore._bury))


def _bury_without_dropping(bury: Callable[..., list[Action]]) -> Callable[..., list[Action]]:
    def bury_only(core: ExecutorCore, slot: Any, how: str) -> list[Action]:
        return [a for a in bury(core, slot, how) if type(a).__name__ != "DropBlocks"]

    return bury_only


def checksums_are_not_verified(patch: Patch) -> None:
    patch.setattr(BlockFile, "verify", lambda *_: True)


def tasks_avoid_the_only_executor(patch: Patch) -> None:
    take, has_for = TaskQueue.take, TaskQueue.has_for

    def take_elsewhere(queue: TaskQueue, executor: int, alone: bool, steal: bool) -> int | None:
        return take(queue, executor, alone=False, steal=steal)

    def has_elsewhere(queue: TaskQueue, executor: int, alone: bool) -> bool:
        return has_for(queue, executor, alone=False)

    patch.setattr(TaskQueue, "take", take_elsewhere)
    patch.setattr(TaskQueue, "has_for", has_elsewhere)


def a_task_that_was_taken_back_is_forgotten(patch: Patch) -> None:
    patch.setattr(Stage, "put_back", lambda *_, **__: None)


def beaten_rivals_win_too(patch: Patch) -> None:
    def is_current(stage: Stage, attempt: AttemptId) -> bool:
        return stage.states[attempt.partition] in (TaskState.LIVE, TaskState.SUCCEEDED)

    patch.setattr(Stage, "is_current", is_current)


def rivals_are_not_compared(patch: Patch) -> None:
    patch.setattr(Stage, "contradicts", lambda *_: False)


def what_is_not_deterministic_has_rivals(patch: Patch) -> None:
    patch.setattr(speculation, "may_run_twice", lambda _: True)


def rivals_share_an_executor(patch: Patch) -> None:
    patch.setattr(speculation, "elsewhere", lambda idle, _: idle)


def the_last_executor_is_excluded(patch: Patch) -> None:
    patch.setattr(exclusion, "_is_last", lambda *_: False)
    patch.setattr(exclusion, "keep_somebody", lambda *_: None)


def words_leave_before_the_log(patch: Patch) -> None:
    def settle(scheduler: SimScheduler) -> None:
        scheduler._send_words()
        if scheduler._doomed is Moment.BEFORE_WORDS:
            scheduler._die()
        else:
            scheduler._write_log()

    patch.setattr(SimScheduler, "_settle", settle)


def the_log_is_not_read(patch: Patch) -> None:
    patch.setattr(MemoryLog, "read", lambda *_: iter(()))


def blocks_are_not_checked_against_the_log(patch: Patch) -> None:
    patch.setattr(roll_call, "_confirmed", lambda *_: True)


def nobody_waits_for_the_roll(patch: Patch) -> None:
    def taking(executors: Executors) -> list[Executor]:
        return [executor for executor in executors.alive.values() if not executor.excluded]

    patch.setattr(Executors, "taking", taking)


def attempts_are_counted_anew(patch: Patch) -> None:
    patch.setattr(snapshots, "ATTEMPTS_PER_LIFE", 0)


def drivers_do_not_say_again(patch: Patch) -> None:
    patch.setattr(SessionLink, "_from", lambda *_: ())


def drivers_are_not_told_again(patch: Patch) -> None:
    patch.setattr(drivers, "_tell_again", lambda *_: None)


def who_leaves_takes_its_blocks_along(patch: Patch) -> None:
    patch.setattr(departures, "_held", lambda *_: iter(()))


def moved_blocks_are_looked_for_at_their_old_place(patch: Patch) -> None:
    patch.setattr(BlockCatalog, "move", lambda *_: None)


def the_old_place_of_moved_blocks_is_believed(patch: Patch) -> None:
    patch.setattr(recovery, "_has_moved", lambda *_: False)


def bad_disks_are_not_excluded(patch: Patch) -> None:
    patch.setattr(LocalDirectories, "_exclude", lambda *_: [])


def what_a_disk_failed_is_given_up(patch: Patch) -> None:
    patch.setattr(LocalDirectories, "any_other", lambda *_: False)


def what_a_disk_failed_is_tried_there_again(patch: Patch) -> None:
    choose = LocalDirectories.choose
    patch.setattr(LocalDirectories, "choose", lambda self, now, *_: choose(self, now))


def an_overrun_is_blamed_on_whoever_runs_now(patch: Patch) -> None:
    def end_overrun(slot: Slot, event: SlotOverran, setup: ExecutorSetup) -> list[Action]:
        blamed = event if slot.attempt is None else structs.replace(event, attempt=slot.attempt)
        return end_the_right_one(slot, blamed, setup)

    end_the_right_one = slot_memory.end_overrun
    patch.setattr(core, "end_overrun", end_overrun)


def who_needs_all_of_the_memory_gets_it_beside_others(patch: Patch) -> None:
    patch.setattr(core, "may_begin", lambda *_, **__: True)


F = Fault

ABLATIONS = (
    Ablation(attempt_numbers_are_ignored, (F.UNSTABLE_STAGE, F.BLOCK_VANISHES, F.CLOG_CONNECTION)),
    Ablation(rows_read_are_not_counted, (F.ROWS_LOST,)),
    Ablation(digests_are_not_compared, (F.UNSTABLE_STAGE, F.KILL_EXECUTOR)),
    Ablation(readers_are_not_rolled_back, (F.UNSTABLE_STAGE, F.BLOCK_VANISHES)),
    Ablation(blocks_outlive_their_executor, (F.KILL_EXECUTOR,)),
    Ablation(who_is_lost_is_not_fenced, (F.BREAK_CONNECTION,)),
    Ablation(silence_is_not_noticed, (F.HOST_LOST,)),
    Ablation(drivers_have_no_lease, (F.KILL_DRIVER,)),
    Ablation(old_news_of_blocks_is_believed, (F.BLOCK_VANISHES, F.SLOW)),
    Ablation(the_scheduler_ignores_gaps, (F.BREAK_CONNECTION,)),
    Ablation(executors_ignore_gaps, (F.BREAK_CONNECTION,)),
    Ablation(heartbeats_promise_nothing, (F.BREAK_CONNECTION, F.CLOG_CONNECTION)),
    Ablation(jobs_are_dropped_while_slots_still_write, (F.CANCEL_JOB,)),
    Ablation(checksums_are_not_verified, (F.BLOCK_CORRUPT,)),
    Ablation(tasks_avoid_the_only_executor, (F.DISK_FULL,)),
    Ablation(bad_disks_are_not_excluded, (F.DISK_BAD,)),
    Ablation(what_a_disk_failed_is_given_up, (F.DISK_BAD, F.DISK_FULL)),
    Ablation(what_a_disk_failed_is_tried_there_again, (F.DISK_FULL,)),
    Ablation(an_overrun_is_blamed_on_whoever_runs_now, (F.OUT_OF_MEMORY,)),
    Ablation(who_needs_all_of_the_memory_gets_it_beside_others, (F.OUT_OF_MEMORY,)),
    Ablation(a_task_that_was_taken_back_is_forgotten, (F.KILL_EXECUTOR,)),
    Ablation(beaten_rivals_win_too, (F.SLOW_EXECUTOR,)),
    Ablation(rivals_are_not_compared, (F.UNSTABLE_STAGE, F.SLOW, F.SLOW_EXECUTOR, F.JOIN_EXECUTOR)),
    Ablation(what_is_not_deterministic_has_rivals, (F.UNSTABLE_STAGE, F.SLOW_EXECUTOR)),
    Ablation(rivals_share_an_executor, (F.SLOW,)),
    Ablation(the_last_executor_is_excluded, (F.BLOCK_VANISHES,)),
    Ablation(words_leave_before_the_log, (F.KILL_SCHEDULER,)),
    Ablation(the_log_is_not_read, (F.KILL_SCHEDULER,)),
    Ablation(blocks_are_not_checked_against_the_log, (F.KILL_SCHEDULER, F.BLOCK_VANISHES)),
    Ablation(nobody_waits_for_the_roll, (F.KILL_SCHEDULER,)),
    Ablation(attempts_are_counted_anew, (F.KILL_SCHEDULER,)),
    Ablation(drivers_do_not_say_again, (F.KILL_SCHEDULER,)),
    Ablation(drivers_are_not_told_again, (F.KILL_SCHEDULER,)),
    Ablation(who_leaves_takes_its_blocks_along, (F.DECOMMISSION,)),
    Ablation(moved_blocks_are_looked_for_at_their_old_place, (F.DECOMMISSION,)),
    Ablation(the_old_place_of_moved_blocks_is_believed, (F.DECOMMISSION, F.CUT_DATA)),
)
