"""What follows from a loss: of an executor, of a block, of everybody.

There is one transition for a lost executor, `lose_executor`, whatever noticed it. It removes first and
gives work away second, in one step, so that nothing is ever launched on what is gone.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowgrid.ids import AttemptId
from flowgrid.protocol.departures import BlocksCorrupt
from flowgrid.protocol.failures import Failure, FailureKind, FetchCause, FetchFailure
from flowgrid.protocol.job_graph import OutputKind
from flowgrid.protocol.messages import Fence, ReportFetchFailed
from flowgrid_scheduler import exclusion, program_drivers
from flowgrid_scheduler.attempts import AttemptState
from flowgrid_scheduler.block_catalog import NOBODY
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.executors import Executor
from flowgrid_scheduler.jobs import Job, JobState
from flowgrid_scheduler.retries import FETCH_FAILURES_MAX, Tally, Verdict
from flowgrid_scheduler.stages import Stage, TaskState


def lose_executor(
    state: ClusterState, executor: Executor, reason: str, in_good_order: bool = False
) -> None:
    """The executor is gone: fence it, run its attempts elsewhere, recompute what only it held.

    One that went `in_good_order` was not brought down by what it ran.
    """
    state.executors.remove(executor)
    state.log.executor(executor.index)
    state.fence(executor, reason)
    if not state.executors.staying() and state.nobody_since_s is None:
        state.nobody_since_s = state.clock.awake_s
    for attempt in list(executor.attempts):
        _lose_attempt(state, executor, attempt, None if in_good_order else reason)
    for job in list(state.jobs.values()):
        for stage in job.stages:
            stage.queue.forget(executor.index)
            lose_blocks(state, stage, stage.held_by(executor.index))
        if job.state is JobState.RUNNING:
            job.recompute()
    program_drivers.executor_lost(state, executor, reason, counted=not in_good_order)
    state.announce_cluster()


def lose_blocks(state: ClusterState, stage: Stage, partitions: Sequence[int]) -> None:
    """Blocks of winners are gone. Whether anybody needs them is for `Job.recompute` to say."""
    stage.lose(partitions)
    for partition in partitions:
        state.log.winner(stage.id.job, stage.id.number, partition)


def _lose_attempt(
    state: ClusterState, executor: Executor, attempt: AttemptId, death: str | None
) -> None:
    """Not the task's fault, unless executors keep dying while they run it."""
    before = executor.step(attempt, Fence)
    job = state.jobs.get(attempt.job)
    if job is None:
        return
    stage = job.stages[attempt.stage]
    stage.settle_beaten(attempt)
    running = before is AttemptState.RUNNING
    stage.running -= running
    if not stage.is_current(attempt):
        return
    if running and death is not None:
        tally = stage.tallies.setdefault(attempt.partition, Tally())
        if tally.judge(FailureKind.EXECUTOR_LOST, job.config) is Verdict.POISON:
            failure = Failure(FailureKind.EXECUTOR_LOST, f"executor lost: {death}")
            state.fail_job(job, poisoned(failure), stage.where(attempt, executor.id.name))
            return
    stage.put_back(attempt)


def poisoned(failure: Failure) -> Failure:
    """The last of too many deaths."""
    message = f"the task brought down several processes, at last: {failure.message}"
    return Failure(FailureKind.POISON, message, failure.traceback)


def fetch_failed(
    state: ClusterState,
    executor: Executor,
    job: Job,
    stage: Stage,
    attempt: AttemptId,
    failure: Failure,
) -> None:
    """A consumer could not read a block: it waits, and the block is recomputed if it is still the
    one that readers are told to read. Otherwise the consumer only had old news."""
    stage.put_back(attempt)
    place = stage.where(attempt)
    inputs = [job.stages[edge.stage] for edge in stage.spec.inputs]
    upstream = next((one for one in inputs if _wrote(one, failure.fetch)), None)
    if upstream is None:
        state.fail_job(
            job, Failure(FailureKind.INTERNAL, f"unknown block: {failure.message}"), place
        )
    elif _lose_block(state, job, upstream, failure, place):
        exclusion.block_unreadable(state, executor, failure)
        assert failure.fetch is not None
        # By block: a holder that is not given up costs the reader an attempt for each that it has.
        read = (attempt.partition, upstream.id.number, failure.fetch.producer.partition)
        stage.fetch_failures[read] = stage.fetch_failures.get(read, 0) + 1
        if stage.fetch_failures[read] >= FETCH_FAILURES_MAX:
            state.fail_job(job, failure, place)
        else:
            job.recompute()


def result_fetch_failed(state: ClusterState, job: Job, word: ReportFetchFailed) -> None:
    """The driver could not read a result block: make what is lost again and say so."""
    result = job.result
    if job.state is not JobState.SUCCEEDED or result is None:
        return  # it is being made
    place = f"result of {job.id}"
    fetch = word.failure.fetch
    if fetch is None or not _wrote(result, fetch):
        return
    if _has_moved(state, result, fetch):
        state.out.to_driver(job.session, job.succeeded(state.executors.address_of))
        return
    if fetch.producer.partition != job.result_unreadable:
        job.result_unreadable, job.result_fetch_failures = fetch.producer.partition, 0
    job.result_fetch_failures += 1
    state.log.job(job.id)
    if job.result_fetch_failures >= FETCH_FAILURES_MAX:
        state.fail_job(job, word.failure, place)
        return
    _lose_block(state, job, result, word.failure, place)
    if job.id.number not in state.jobs:
        return
    if TaskState.LOST in result.states:
        state.resume_job(job)
        job.recompute()
    else:
        state.out.to_driver(job.session, job.succeeded(state.executors.address_of))


def _wrote(stage: Stage, fetch: FetchFailure | None) -> bool:
    """Whether a fetch failure names a block of this stage, under the name in the files' names."""
    if fetch is None:
        return False
    given, producer = stage.spec.given, fetch.producer
    name = (given.written_as if given is not None else None) or stage.id
    return producer.stage_id == name and 0 <= producer.partition < len(stage.states)


def _lose_block(state: ClusterState, job: Job, stage: Stage, failure: Failure, place: str) -> bool:
    """Unregister the block that could not be read; False if it is not what readers are told to read
    any more. A block that the driver gave cannot be made again, only asked for again."""
    assert failure.fetch is not None  # checked by `_wrote`
    producer, cause = failure.fetch.producer, failure.fetch.cause
    out_of_reach = cause in (FetchCause.UNREACHABLE, FetchCause.TIMEOUT)
    if stage.spec.given is not None:
        if not out_of_reach:
            message = f"a block that the driver itself holds is lost ({failure.message})"
            state.fail_job(job, Failure(FailureKind.FETCH_FAILED, message), place)
        return out_of_reach
    if stage.blocks.attempts[producer.partition] != producer.number:
        return False
    holder = stage.blocks.holders[producer.partition]
    if _has_moved(state, stage, failure.fetch):
        return False
    lose_blocks(state, stage, [producer.partition])
    if cause is FetchCause.CORRUPT and failure.fetch.holder in state.executors.alive:
        state.out.to_executor(failure.fetch.holder, BlocksCorrupt(producer))
    if out_of_reach:
        # Its heartbeats are fresh, or it would be lost: only this link may be broken.
        stage.queue.avoid(producer.partition, holder)
        _give_up(state, job, holder)
    return True


def _give_up(state: ClusterState, job: Job, holder: int) -> None:
    """A reader of this job cannot reach a holder, and to find that out took all of its patience. So
    that it is found out once and not once for each block, the holder counts as lost for this job:
    what it has is computed elsewhere, and for a while nothing new is left there.

    Not more than every second executor: where most are out of reach, it is not they who are ill.
    """
    alive = {executor.index: executor for executor in state.executors.alive.values()}
    given_up = {holder, *job.given_up} & alive.keys()
    if holder not in alive or 2 * len(given_up) > len(alive):
        return  # who has gone meanwhile has nothing any more
    job.given_up[holder] = state.clock.awake_s + state.config.exclusion_duration_s
    for stage in job.stages:
        lose_blocks(state, stage, stage.held_by(holder))
    for attempt in list(alive[holder].attempts):
        ours = attempt.job == job.id.number
        if ours and job.stages[attempt.stage].spec.output is OutputKind.BLOCKS:
            state.abandon(job, alive[holder], attempt)


def _has_moved(state: ClusterState, stage: Stage, fetch: FetchFailure) -> bool:
    """Whether the block that could not be read is held by another executor now."""
    holder = stage.blocks.holders[fetch.producer.partition]
    current = stage.blocks.attempts[fetch.producer.partition] == fetch.producer.number
    if not current or holder == NOBODY:
        return False
    return state.executors.address_of(holder).executor != fetch.holder


def check_silence(state: ClusterState) -> None:
    """Find executors that are silent or owe us a word."""
    timeout_s = state.config.executor_heartbeat_timeout_s
    for executor in list(state.executors.alive.values()):
        if executor.id in state.executors.awaited:
            continue  # the roll call has its own end
        complaint = executor.complaint(state.clock.awake_s, timeout_s)
        if complaint:
            lose_executor(state, executor, complaint)


def check_grace(state: ClusterState) -> None:
    """Fail the jobs that have waited too long for any executor at all."""
    if state.nobody_since_s is None:
        return
    for job in list(state.rotation):
        if any(stage.live for stage in job.stages):
            continue  # on an executor that leaves when it has finished them
        grace_s = job.config.scheduler_no_executors_grace_s
        waited_s = state.clock.awake_s - max(state.nobody_since_s, job.running_since_s)
        if waited_s >= grace_s:
            message = (
                f"there is no executor, and none came within {grace_s:g} s "
                "(setting scheduler.no_executors_grace_s)"
            )
            state.fail_job(job, Failure(FailureKind.NO_EXECUTORS, message), str(job.id))
