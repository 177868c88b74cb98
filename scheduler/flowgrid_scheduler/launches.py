"""Assignments to words: describe a stage once, say where its inputs are, launch in one batch."""

from __future__ import annotations

from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.protocol.messages import CancelAttempts, DescribeStage, LaunchAttempts, LocateInputs
from flowgrid_scheduler.attempts import AttemptState
from flowgrid_scheduler.backlogs import attempts_per_slot
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.executors import Executor
from flowgrid_scheduler.placement import assign
from flowgrid_scheduler.stages import Stage

ATTEMPTS_PER_WORD_MAX = 1_000
"""Attempts in one `LaunchAttempts`: some 20 kB, so that one huge stage does not hold up others."""


def launch_ready(state: ClusterState) -> None:
    """Give every free place a ready task."""
    if not state.rotation:
        return
    taking = state.executors.taking()
    waiting = attempts_per_slot(state.rotation)
    roomy = [executor for executor in taking if executor.places(waiting) > 0]
    if not roomy:
        return
    launches: dict[ExecutorId, list[AttemptId]] = {}
    indexes = frozenset([executor.index for executor in taking])
    for executor, stage, partition in assign(state.rotation, roomy, indexes, waiting):
        inform(state, executor, stage)
        attempt = stage.launch(partition)
        executor.attempts[attempt] = AttemptState.ASSIGNED
        launches.setdefault(executor.id, []).append(attempt)
    for executor_id, attempts in launches.items():
        for start in range(0, len(attempts), ATTEMPTS_PER_WORD_MAX):
            batch = tuple(attempts[start : start + ATTEMPTS_PER_WORD_MAX])
            state.out.to_executor(executor_id, LaunchAttempts(batch))


def inform(state: ClusterState, executor: Executor, stage: Stage) -> None:
    """Send the descriptor before the first launch, and the inputs whenever they changed."""
    job = state.jobs[stage.id.job]
    told = executor.told.setdefault(stage.id.job, {})
    inputs = [job.stages[edge.stage].blocks for edge in stage.spec.inputs]
    versions = tuple([blocks.version for blocks in inputs])
    before = told.get(stage.id.number)
    if before == versions:
        return
    told[stage.id.number] = versions
    if before is None:
        state.out.to_executor(executor.id, DescribeStage(stage.id, stage.spec))
    if inputs:
        outputs = tuple(blocks.outputs(state.executors.address_of) for blocks in inputs)
        state.out.to_executor(executor.id, LocateInputs(stage.id, outputs))


def revoke_backlog(state: ClusterState) -> None:
    """Take attempts back from long backlogs while other executors have free slots and nothing else
    to do. Their tasks are launched anew when the executor confirms."""
    given_up = {index for job in state.rotation for index in job.given_up}
    idle = sum(one.slots_free for one in state.executors.taking() if one.index not in given_up)
    if not idle or any(stage.queue for job in state.rotation for stage in job.open):
        return
    being_revoked = sum(
        current is AttemptState.CANCELLING
        for executor in state.executors.alive.values()
        for current in executor.attempts.values()
    )
    for executor in state.executors.alive.values():
        behind = len(executor.attempts) - executor.slots
        fair_share = behind * idle // (idle + executor.slots)
        surplus = min(behind, max(idle, fair_share) - being_revoked)
        waiting = [a for a, s in executor.attempts.items() if s is AttemptState.ASSIGNED]
        for attempt in waiting[::-1][: max(0, surplus)]:
            executor.step(attempt, CancelAttempts)
            state.out.to_executor(executor.id, CancelAttempts((attempt,)))
            being_revoked += 1


def take_back_assigned(state: ClusterState, executor: Executor) -> None:
    """What has not begun on an executor begins elsewhere, when the executor confirms."""
    waiting = [a for a, s in executor.attempts.items() if s is AttemptState.ASSIGNED]
    for attempt in waiting:
        executor.step(attempt, CancelAttempts)
    if waiting:
        state.out.to_executor(executor.id, CancelAttempts(tuple(waiting)))
