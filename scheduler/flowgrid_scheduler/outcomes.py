"""What follows from the words of an executor about its attempts.

An attempt's last word frees its place on the executor, always. Whether it changes the stage is decided
by `Stage.is_current` alone: a success that nobody waits for is answered by `DropAttempts`.
"""

from __future__ import annotations

from flowgrid.ids import AttemptId
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.job_graph import OutputKind
from flowgrid.protocol.messages import (
    AttemptCancelled,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    DropAttempts,
)
from flowgrid.protocol.reports import AttemptReport
from flowgrid_scheduler import exclusion, recovery, speculation
from flowgrid_scheduler.attempts import AttemptState, Word
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.executors import Executor
from flowgrid_scheduler.jobs import Job, JobState
from flowgrid_scheduler.retries import RULES, Tally, Verdict
from flowgrid_scheduler.stages import Stage, TaskState


def attempt_started(state: ClusterState, executor: Executor, word: AttemptStarted) -> None:
    """A slot has begun."""
    before = executor.step(word.attempt, AttemptStarted)
    if before is AttemptState.ASSIGNED:
        executor.started_s[word.attempt] = state.clock.awake_s
        job = state.jobs[word.attempt.job]
        stage = job.stages[word.attempt.stage]
        stage.running += 1
        state.report_progress(job, stage)


def attempt_succeeded(state: ClusterState, executor: Executor, word: AttemptSucceeded) -> None:
    """Accept the attempt as the winner of its partition, or refuse it."""
    attempt, report = word.attempt, word.report
    started_s = executor.started_s.get(attempt)
    current = _last_word(state, executor, attempt, AttemptSucceeded)
    if current is None:
        refuse(state, executor, attempt)
        _certify(state, executor, word)
        return
    job, stage = current
    failure = _check_report(job, stage, attempt.partition, report)
    if failure is not None:
        refuse(state, executor, attempt)
        _count_failure(state, executor, attempt, failure)
        return
    differs = stage.spec.output is OutputKind.BLOCKS and stage.blocks.differs(
        attempt.partition, report.digest
    )
    if differs and not _roll_back_readers(state, job, stage, attempt):
        return
    stage.accept(attempt, executor.index, report)
    state.log.winner_of(attempt)
    # A short attempt's start is not said; a slot's own clock is good enough for those.
    run_s = report.run_s if started_s is None else state.clock.awake_s - started_s
    stage.paces.add(run_s, sum(report.rows_read))
    exclusion.task_succeeded(state, executor, attempt)
    if attempt.partition in stage.beaten:
        speculation.cancel_beaten(state, job, stage, attempt.partition)
    if stage.complete:
        state.stage_completed(job, stage)
    else:
        state.report_progress(job, stage)


def attempt_failed(state: ClusterState, executor: Executor, word: AttemptFailed) -> None:
    """Try again, try elsewhere, recompute what could not be read, or end the job."""
    attempt, failure = word.attempt, word.failure
    current = _last_word(state, executor, attempt, AttemptFailed)
    if current is None:
        return
    job, stage = current
    if failure.kind is FailureKind.FETCH_FAILED:
        recovery.fetch_failed(state, executor, job, stage, attempt, failure)
    else:
        _count_failure(state, executor, attempt, failure)


def attempt_cancelled(state: ClusterState, executor: Executor, word: AttemptCancelled) -> None:
    """A place is free; if the task still waits for this attempt, it gets another."""
    current = _last_word(state, executor, word.attempt, AttemptCancelled)
    if current is not None:
        current[1].put_back(word.attempt)


def _last_word(
    state: ClusterState, executor: Executor, attempt: AttemptId, word: Word
) -> tuple[Job, Stage] | None:
    """Free the attempt's place; its job and stage if they still wait for it."""
    before = executor.step(attempt, word)
    if before is None:
        return None
    job = state.jobs[attempt.job]
    stage = job.stages[attempt.stage]
    stage.running -= before is AttemptState.RUNNING
    if word is not AttemptSucceeded:
        stage.settle_beaten(attempt)
    return (job, stage) if stage.is_current(attempt) else None


def refuse(state: ClusterState, executor: Executor, attempt: AttemptId) -> None:
    """Blocks that nobody will read may go. Never those of a winner whose report came twice."""
    job = state.jobs.get(attempt.job)
    stage = job.stage_of(attempt) if job is not None else None
    if stage is None or not 0 <= attempt.partition < len(stage.states):
        return
    blocks, partition = stage.blocks, attempt.partition
    holder, winner = blocks.holders[partition], blocks.attempts[partition]
    if (holder, winner) != (executor.index, attempt.number):
        state.out.to_executor(executor.id, DropAttempts((attempt,)))


def _certify(state: ClusterState, executor: Executor, word: AttemptSucceeded) -> None:
    """An attempt that lost to its rival was faster than its cancellation: both must have written the
    same rows, or neither can be trusted."""
    job = state.job_of(word.attempt)
    stage = job.stage_of(word.attempt) if job is not None else None
    if job is None or stage is None or not stage.settle_beaten(word.attempt):
        return
    partition = word.attempt.partition
    honest = _check_report(job, stage, partition, word.report) is None
    if job.state is JobState.RUNNING and honest and stage.contradicts(partition, word.report):
        failure = Failure(
            FailureKind.INDETERMINATE,
            f"two attempts of stage {stage.spec.label!r} ran side by side and wrote other rows for "
            f"partition {partition}; make the stage deterministic, or declare its function with "
            "deterministic=False",
        )
        state.fail_job(job, failure, stage.where(word.attempt, executor.id.name))


def _check_report(job: Job, stage: Stage, partition: int, report: AttemptReport) -> Failure | None:
    """Rows written by the producers are the rows read by the consumer, or it did not succeed."""
    malformed = stage.malformed(report)
    if malformed:
        return Failure(FailureKind.INTERNAL, malformed)
    expected = job.rows_expected(stage, partition)
    if report.rows_read == expected:
        return None
    return Failure(
        FailureKind.ROWS_LOST,
        f"read {list(report.rows_read)} rows of its inputs where {list(expected)} were written",
    )


def _roll_back_readers(state: ClusterState, job: Job, stage: Stage, attempt: AttemptId) -> bool:
    """A recompute wrote other rows than its predecessor. Running readers of the old version start
    again; if one has succeeded, versions would be mixed, and the job fails by name (False)."""
    partition = attempt.partition
    mixed = stage is job.result and job.result_fetch_failures > 0
    stale: dict[tuple[int, int], None] = {}
    for reader in job.stages[stage.id.number + 1 :]:
        for task in reader.readers_of(stage.id.number, partition):
            mixed = mixed or bool(reader.blocks.written[task])
            if reader.states[task] == TaskState.LIVE:
                stale[reader.id.number, task] = None
    if mixed:
        state.fail_job(
            job,
            Failure(
                FailureKind.INDETERMINATE,
                f"stage {stage.spec.label!r} wrote other rows when partition {partition} was "
                "computed again, and its first version is already part of the answer; make the "
                "stage deterministic (seed what is random, order what is limited)",
            ),
            stage.where(attempt),
        )
        return False
    for executor in state.executors.alive.values():
        for live in [a for a in executor.attempts if a.job == attempt.job]:
            if (live.stage, live.partition) in stale:
                state.abandon(job, executor, live)
    return True


def _count_failure(
    state: ClusterState, executor: Executor, attempt: AttemptId, failure: Failure
) -> None:
    """Let the table of `retries` decide what a failure of the current attempt is worth."""
    job = state.jobs[attempt.job]
    stage = job.stages[attempt.stage]
    if RULES[failure.kind].elsewhere:
        exclusion.task_failed(state, executor, attempt, failure)
    tally = stage.tallies.setdefault(attempt.partition, Tally())
    match tally.judge(failure.kind, job.config):
        case Verdict.RETRY:
            stage.put_back(attempt)
        case Verdict.RETRY_ELSEWHERE:
            stage.put_back(attempt, avoid=executor.index)
        case Verdict.FAIL:
            state.fail_job(job, failure, stage.where(attempt, executor.id.name))
        case Verdict.POISON:
            state.fail_job(job, recovery.poisoned(failure), stage.where(attempt, executor.id.name))
