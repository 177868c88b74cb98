"""After a start from the log: which executors are still there, and what they really hold.

Nothing is launched before the roll is complete: everybody in the log has come back, or was silent for
``scheduler.roll_call_s`` and is lost. So what comes back is judged by the log as it was found:

* blocks that the log knows and the executor has, with the same sizes and digest, are winners;
* blocks that the log knows and the executor does not have are lost;
* an attempt that the log does not know (it runs, or its last word was said to the dead) goes on if its
  task still waits, and if it reads exactly the attempts that readers would be told to read today;
* everything else is stopped and dropped.
"""

from __future__ import annotations

from flowgrid.ids import AttemptId, ExecutorId, JobId
from flowgrid.protocol.job_graph import ExecutorAddress
from flowgrid.protocol.messages import (
    AttemptSucceeded,
    CallRoll,
    CancelAttempts,
    DropJob,
    ExecutorEnvelope,
    ExecutorRegistered,
    RegisterExecutor,
)
from flowgrid.protocol.reports import HeldAttempt
from flowgrid_scheduler import outcomes, program_drivers, recovery
from flowgrid_scheduler.attempts import AttemptState
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.executors import Executor
from flowgrid_scheduler.jobs import Job, JobState
from flowgrid_scheduler.stages import Stage, TaskState


def ask(state: ClusterState, executor: ExecutorId) -> None:
    """Whoever still counts in the dead scheduler's numbers is asked; it answers the first time."""
    state.out.to_executor(executor, CallRoll())


def answered(state: ClusterState, executor: Executor, envelope: ExecutorEnvelope) -> bool:
    """Whether an awaited executor comes back with this envelope; if not, it is asked to."""
    word = envelope.messages[0] if envelope.messages else None
    if not isinstance(word, RegisterExecutor) or word.epoch != state.identity.epoch:
        ask(state, executor.id)
        return False
    del state.executors.awaited[executor.id]
    registered = ExecutorRegistered(state.identity.epoch, state.identity.heartbeat_address)
    state.out.to_executor(executor.id, registered)
    _take_back(state, executor, word.held)
    program_drivers.take_back(state, executor, word.drivers)
    return True


def close_roll(state: ClusterState) -> None:
    """Who has not come by now does not come any more."""
    if state.clock.awake_s > state.config.scheduler_roll_call_s:
        for executor in list(state.executors.awaited.values()):
            recovery.lose_executor(state, executor, "it did not come back to the next scheduler")


def replace(state: ClusterState, address: ExecutorAddress) -> None:
    """A new incarnation lives where an awaited one lived: that one will not come."""
    for executor in list(state.executors.awaited.values()):
        known = executor.address
        if (known.host, known.directory) == (address.host, address.directory):
            recovery.lose_executor(state, executor, "it came back as another incarnation")


def _take_back(state: ClusterState, executor: Executor, held: tuple[HeldAttempt, ...]) -> None:
    claims = {claim.attempt: claim for claim in held}
    for number in dict.fromkeys(attempt.job for attempt in claims):
        if number in state.jobs:
            executor.told[number] = {}
        else:
            state.out.to_executor(executor.id, DropJob(JobId(number)))
    for job in state.jobs.values():
        for stage in job.stages:
            won = stage.held_by(executor.index)
            missing = [p for p in won if not _confirmed(stage, p, claims)]
            recovery.lose_blocks(state, stage, missing)
        if job.state is JobState.RUNNING:
            job.recompute()
    for claim in claims.values():
        _judge(state, executor, claim)


def _confirmed(stage: Stage, partition: int, claims: dict[AttemptId, HeldAttempt]) -> bool:
    """Whether the executor holds what the log says it holds; that claim is settled then."""
    winner = stage.attempt_of(partition, stage.blocks.attempts[partition])
    claim = claims.get(winner)
    if claim is None or claim.report is None:
        return False
    said, known = claim.report, stage.blocks.report_of(partition)
    if (said.rows, said.bytes, said.digest) != (known.rows, known.bytes, known.digest):
        return False
    del claims[winner]
    return True


def _judge(state: ClusterState, executor: Executor, claim: HeldAttempt) -> None:
    """Go on with an attempt whose success the log does not know, or stop it and drop its blocks."""
    attempt = claim.attempt
    job = state.job_of(attempt)
    stage = job.stage_of(attempt) if job is not None else None
    if job is None or stage is None:
        return  # its whole job is dropped
    if may_go_on(job, stage, claim):
        stage.adopt(attempt)
        stage.running += 1
        executor.attempts[attempt] = AttemptState.RUNNING
        executor.started_s[attempt] = state.clock.awake_s
        if claim.report is not None:
            word = AttemptSucceeded(attempt, claim.report)
            outcomes.attempt_succeeded(state, executor, word)
    elif claim.report is not None:
        outcomes.refuse(state, executor, attempt)
    else:
        executor.attempts[attempt] = AttemptState.CANCELLING
        state.out.to_executor(executor.id, CancelAttempts((attempt,)))


def may_go_on(job: Job, stage: Stage, claim: HeldAttempt) -> bool:
    """Whether the task waits, and the attempt reads what its next attempt would be told to read.

    Blocks of a task that has won before may be the very ones that could not be read.
    """
    partition = claim.attempt.partition
    if claim.attempt.number < job.replaced.get(claim.attempt.stage, 0):
        return False  # it belongs to another stage of that number
    if job.state is not JobState.RUNNING or not 0 <= partition < len(stage.states):
        return False
    if claim.report is not None and stage.blocks.written[partition]:
        return False
    reads = tuple(
        job.stages[edge.stage].blocks.attempts_in(
            None if edge.slices is None else edge.slices[partition]
        )
        for edge in stage.spec.inputs
    )
    return (
        stage in job.open and stage.states[partition] == TaskState.PENDING and claim.reads == reads
    )
