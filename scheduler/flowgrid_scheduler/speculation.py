"""A rival for an attempt that is much slower than its row count explains.

A rival costs a slot that has nothing else to do, so it is launched only when no task waits. An attempt
that has run for t seconds without an end may well run for t more; where the median task would take at
most t divided by ``speculation.multiplier``, a rival saves the rest. Below ``speculation.run_s_min``
the saving is not worth the work.

It never runs where attempts of its task had better not: one has failed there, or what is written there
cannot be read.

The first of both to succeed wins, the other is cancelled. If it succeeds all the same, both must have
written the same rows (`outcomes`). So tasks that are declared not to be deterministic have no rivals.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowgrid.config import Config
from flowgrid.ids import AttemptId
from flowgrid.protocol.messages import LaunchAttempts
from flowgrid_scheduler.attempts import AttemptState
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.executors import Executor
from flowgrid_scheduler.jobs import Job
from flowgrid_scheduler.launches import inform
from flowgrid_scheduler.stages import Stage


def launch_rivals(state: ClusterState) -> None:
    """For every straggler a second attempt, while there are idle slots on other executors."""
    if any(stage.queue for job in state.rotation for stage in job.open):
        return
    idle = [executor for executor in state.executors.taking() if executor.slots_free]
    if not idle:
        return
    for executor in list(state.executors.alive.values()):
        for attempt, started_s in list(executor.started_s.items()):
            stage = _contested(state, attempt, state.clock.awake_s - started_s)
            if stage is None:
                continue
            avoided = {stage.queue.avoided(attempt.partition), *state.jobs[attempt.job].given_up}
            others = [one for one in elsewhere(idle, executor) if one.index not in avoided]
            if others:
                rival = min(others, key=lambda one: (len(one.attempts) / one.slots, one.index))
                _launch_rival(state, rival, stage, attempt.partition)


def elsewhere(idle: Sequence[Executor], executor: Executor) -> list[Executor]:
    """What makes an attempt slow is on its executor more often than not."""
    return [one for one in idle if one is not executor and one.slots_free]


def may_run_twice(stage: Stage) -> bool:
    """Whether two attempts at the same time write the same rows."""
    return stage.spec.deterministic


def cancel_beaten(state: ClusterState, job: Job, stage: Stage, partition: int) -> None:
    """The winner's rival need not go on."""
    beaten = stage.attempt_of(partition, stage.beaten[partition])
    for executor in state.executors.alive.values():
        if beaten in executor.attempts:
            state.abandon(job, executor, beaten)


def _contested(state: ClusterState, attempt: AttemptId, elapsed_s: float) -> Stage | None:
    """The stage of an attempt that should have a rival now."""
    job = state.jobs.get(attempt.job)
    if job is None or elapsed_s < job.config.speculation_run_s_min:
        return None
    stage = job.stages[attempt.stage]
    alone = stage.is_current(attempt) and len(stage.contending(attempt.partition)) == 1
    if not (alone and may_run_twice(stage) and stage in job.open):
        return None
    return stage if _is_straggler(job, stage, attempt.partition, elapsed_s) else None


def _is_straggler(job: Job, stage: Stage, partition: int, elapsed_s: float) -> bool:
    config: Config = job.config
    count = len(stage.states)
    enough = max(1, int(config.speculation_quantile * count))
    if not config.speculation_enabled or count - stage.remaining < enough:
        return False
    expected_s = stage.paces.expected_s(sum(job.rows_expected(stage, partition)))
    return expected_s is not None and elapsed_s >= config.speculation_multiplier * expected_s


def _launch_rival(state: ClusterState, executor: Executor, stage: Stage, partition: int) -> None:
    inform(state, executor, stage)
    attempt = stage.launch_rival(partition)
    executor.attempts[attempt] = AttemptState.ASSIGNED
    state.out.to_executor(executor.id, LaunchAttempts((attempt,)))
