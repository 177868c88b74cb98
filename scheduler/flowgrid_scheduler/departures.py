"""An executor that is to leave: it gets no new attempts, and nothing that it has finished is lost.

Its running attempts, and drivers of submitted programs, go on to their end. Meanwhile others fetch
its blocks, and each block changes its holder when it has arrived, under the same attempt's name:
readers that start from then on are told the new place. It goes when nothing runs on it, nobody reads
what has moved, and it holds nothing that could be moved. A block that nobody can fetch is recomputed
after it has gone, as after any loss.
"""

from __future__ import annotations

from collections.abc import Iterator

from flowgrid.ids import AttemptId
from flowgrid.protocol.departures import CopyBlocks, DecommissionAnswered
from flowgrid.protocol.messages import (
    DropAttempts,
    StopExecutor,
)
from flowgrid.protocol.reports import AttemptReport
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.executors import Departure, Executor
from flowgrid_scheduler.launches import take_back_assigned
from flowgrid_scheduler.stages import Stage

COPIES_MAX = 8
"""Attempts whose blocks one executor fetches at a time."""

TRIES_MAX = 3
"""Failed copies of one attempt's blocks; the next would fail as well."""


def decommission(state: ClusterState, name: str) -> DecommissionAnswered:
    """Let an executor go. To ask twice is to ask once."""
    executors = state.executors
    found = [one for one in executors.alive.values() if name in (one.id.name, str(one.id))]
    if len(found) > 1:
        ids = ", ".join(str(one.id) for one in found)
        return DecommissionAnswered(f"several executors are called {name!r}: {ids}", refused=True)
    if not found:
        if any(name in (id_.name, str(id_)) for id_ in executors.departed):
            return DecommissionAnswered(f"executor {name} has left already")
        ids = ", ".join(str(id_) for id_ in executors.alive) or "none"
        return DecommissionAnswered(f"there is no executor {name!r}; known: {ids}", refused=True)
    (executor,) = found
    if executor.departure is None:
        executor.departure = Departure()
        state.log.executor(executor.index)
        if not executors.staying() and state.nobody_since_s is None:
            state.nobody_since_s = state.clock.awake_s
        take_back_assigned(state, executor)
        state.announce_cluster()
        advance(state)
    blocks = sum(1 for _ in _held(state, executor))
    return DecommissionAnswered(
        f"executor {executor.id} leaves: {len(executor.attempts)} attempts go on to their end, "
        f"the blocks of {blocks} are moved"
    )


def advance(state: ClusterState) -> None:
    """See to everybody who leaves."""
    if state.executors.awaited:
        return  # who holds what is not known before the roll is called
    for executor in list(state.executors.alive.values()):
        if executor.departure is not None and not executor.departure.stopping:
            _advance(state, executor, executor.departure)


def blocks_copied(state: ClusterState, target: Executor, attempt: AttemptId) -> None:
    """Blocks have a new holder, if they are still held by the one who leaves."""
    source = _source_of(state, target, attempt)
    stage = _held_stage(state, source, attempt) if source is not None else None
    if source is None or source.departure is None or stage is None:
        _drop_copy(state, target, attempt)
        return
    del source.departure.copies[attempt]
    stage.blocks.move(attempt.partition, target.index)
    state.log.winner_of(attempt)
    source.departure.readers.update(dict.fromkeys(_readers(state, attempt)))
    advance(state)


def copy_failed(state: ClusterState, target: Executor, attempt: AttemptId) -> None:
    """Somebody else may try."""
    source = _source_of(state, target, attempt)
    if source is not None and source.departure is not None:
        del source.departure.copies[attempt]
        source.departure.tries[attempt] = source.departure.tries.get(attempt, 0) + 1
        advance(state)


def _advance(state: ClusterState, executor: Executor, departure: Departure) -> None:
    # What goes to somebody who leaves as well would have to be moved again.
    staying = {one.index for one in state.executors.staying()}
    copies = departure.copies.items()
    departure.copies = {a: t for a, t in copies if t in staying and a.job in state.jobs}
    live = {attempt for one in state.executors.alive.values() for attempt in one.attempts}
    departure.readers = {reader: None for reader in departure.readers if reader in live}
    to_move = [a for a in _held(state, executor) if departure.tries.get(a, 0) < TRIES_MAX]
    _fetch_elsewhere(state, executor, departure, to_move)
    busy = executor.attempts or to_move or departure.copies or departure.readers
    if not busy and not state.programs.on(executor.index):
        departure.stopping = True
        state.out.to_executor(executor.id, StopExecutor())


def _fetch_elsewhere(
    state: ClusterState, executor: Executor, departure: Departure, to_move: list[AttemptId]
) -> None:
    """Give everybody who stays as much to fetch as it may have."""
    fetching = dict.fromkeys((one.index for one in state.executors.taking()), 0)
    for one in state.executors.alive.values():
        for target in one.departure.copies.values() if one.departure is not None else ():
            if target in fetching:
                fetching[target] += 1
    batches: dict[int, list[AttemptId]] = {}
    for attempt in to_move:
        if attempt in departure.copies:
            continue
        free = [index for index, count in fetching.items() if count < COPIES_MAX]
        if not free:
            break
        target = min(free, key=lambda index: (fetching[index], index))
        fetching[target] += 1
        departure.copies[attempt] = target
        batches.setdefault(target, []).append(attempt)
    for one in state.executors.taking():
        for attempt in (batch := batches.get(one.index, [])):
            one.told.setdefault(attempt.job, {})  # so that it hears of the job's end
        if batch:
            reports = tuple(_report(state, attempt) for attempt in batch)
            word = CopyBlocks(tuple(batch), reports, executor.address)
            state.out.to_executor(one.id, word)


def _report(state: ClusterState, attempt: AttemptId) -> AttemptReport:
    return state.jobs[attempt.job].stages[attempt.stage].blocks.report_of(attempt.partition)


def _held(state: ClusterState, executor: Executor) -> Iterator[AttemptId]:
    """The winners whose blocks an executor holds."""
    for job in state.jobs.values():
        for stage in job.stages:
            for partition in stage.held_by(executor.index):
                yield stage.attempt_of(partition, stage.blocks.attempts[partition])


def _held_stage(state: ClusterState, source: Executor, attempt: AttemptId) -> Stage | None:
    """The attempt's stage, if its blocks are the winner's and are held by `source`."""
    job = state.job_of(attempt)
    stage = job.stage_of(attempt) if job is not None else None
    if stage is None or stage.blocks.attempts[attempt.partition] != attempt.number:
        return None
    return stage if stage.blocks.holders[attempt.partition] == source.index else None


def _source_of(state: ClusterState, target: Executor, attempt: AttemptId) -> Executor | None:
    """Who leaves and waits for this copy."""
    for one in state.executors.alive.values():
        if one.departure is not None and one.departure.copies.get(attempt) == target.index:
            return one
    return None


def _drop_copy(state: ClusterState, target: Executor, attempt: AttemptId) -> None:
    """A copy that came too late, unless it is what readers are told to read."""
    if _held_stage(state, target, attempt) is None:
        state.out.to_executor(target.id, DropAttempts((attempt,)))


def _readers(state: ClusterState, producer: AttemptId) -> Iterator[AttemptId]:
    """Live attempts that may have been told the old place."""
    job = state.jobs[producer.job]
    reading = {
        stage.id.number
        for stage in job.stages
        if any(edge.stage == producer.stage for edge in stage.spec.inputs)
    }
    for executor in state.executors.alive.values():
        for attempt in executor.attempts:
            if attempt.job == producer.job and attempt.stage in reading:
                yield attempt
