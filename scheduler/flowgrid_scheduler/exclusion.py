"""Executors that fail what others can do get no new attempts for a while.

A failure speaks against its executor once the same task has succeeded on another one: a function that
kills every process it runs in speaks against nobody. A block that is missing or corrupt speaks against
its holder at once. A block that is out of reach speaks against both ends of the link, because nobody
knows which it is; who has trouble with several others is found by counting each of them once.

Because such a link costs a patience each time, a job that meets one gives up the holder (`recovery`).

What is excluded keeps its running attempts and its blocks. Somebody always stays: the last executor
that takes attempts is not excluded, and if all others have gone, the least suspect is taken back.
"""

from __future__ import annotations

from flowgrid.ids import AttemptId
from flowgrid.protocol.departures import ExecutorExcluded, ExecutorReadmitted
from flowgrid.protocol.failures import Failure, FetchCause
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.executors import Executor
from flowgrid_scheduler.launches import take_back_assigned

OUT_OF_REACH = (FetchCause.UNREACHABLE, FetchCause.TIMEOUT)


def task_failed(
    state: ClusterState, executor: Executor, attempt: AttemptId, failure: Failure
) -> None:
    """An attempt failed for a reason that may be its executor's own."""
    state.suspicions.add(attempt.task, executor.index, f"{failure.kind}: {failure.message}")


def task_succeeded(state: ClusterState, executor: Executor, attempt: AttemptId) -> None:
    """Whoever failed this task before failed what can be done."""
    if not state.suspicions:
        return
    failed = state.suspicions.settle(attempt.task, executor.index)
    for other in [one for one in state.executors.alive.values() if one.index in failed]:
        _hold_against(state, other, str(attempt.task), failed[other.index])


def block_unreadable(state: ClusterState, reader: Executor, failure: Failure) -> None:
    """A block that is where readers are told to look could not be read."""
    assert failure.fetch is not None
    holder = state.executors.alive.get(failure.fetch.holder)
    if holder is None:
        return
    if failure.fetch.cause not in OUT_OF_REACH:
        _hold_against(state, holder, str(failure.fetch.producer), failure.message)
    elif holder is not reader:
        _hold_against(state, holder, f"reader {reader.id}", failure.message)
        _hold_against(state, reader, f"holder {holder.id}", failure.message)


def _hold_against(state: ClusterState, executor: Executor, witness: str, what: str) -> None:
    """One more that speaks against an executor; the same witness counts once."""
    awake_s, config = state.clock.awake_s, state.config
    since_s = awake_s - config.exclusion_window_s
    executor.evidence = {one: at for one, at in executor.evidence.items() if at >= since_s}
    executor.evidence[witness] = awake_s
    limit = config.exclusion_failures_max
    if not limit or len(executor.evidence) < limit or executor.excluded:
        return
    if _is_last(state, executor):
        return
    executor.excluded = f"{len(executor.evidence)} failures of its own, at last {what}"
    executor.excluded_until_s = awake_s + config.exclusion_duration_s
    take_back_assigned(state, executor)
    word = ExecutorExcluded(executor.id, executor.excluded, config.exclusion_duration_s)
    for session in state.sessions.open:
        state.out.to_driver(session, word)


def _is_last(state: ClusterState, executor: Executor) -> bool:
    """Whether nobody else takes attempts."""
    return all(one is executor for one in state.executors.taking())


def check_exclusions(state: ClusterState) -> None:
    """Take back those whose time is over."""
    awake_s = state.clock.awake_s
    for executor in state.executors.alive.values():
        if executor.excluded and awake_s >= executor.excluded_until_s:
            executor.evidence.clear()
            _readmit(state, executor)
    for job in state.jobs.values():
        for index in [one for one, until_s in job.given_up.items() if awake_s >= until_s]:
            del job.given_up[index]


def keep_somebody(state: ClusterState) -> None:
    """Take back the least suspect if nobody else is left."""
    excluded = [one for one in state.executors.staying() if one.excluded]
    if excluded and not state.executors.taking():
        _readmit(state, min(excluded, key=lambda one: (len(one.evidence), one.index)))


def _readmit(state: ClusterState, executor: Executor) -> None:
    executor.excluded = ""
    for session in state.sessions.open:
        state.out.to_driver(session, ExecutorReadmitted(executor.id))
