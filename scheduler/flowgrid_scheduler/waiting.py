"""Pure: what a job waits for, as a chain from the job to whoever acts next.

Every state that a job can be in has an answer, and the last link of every answer names something that
is really there: an attempt in a slot or on its way, a driver with its lease, a period of grace. A test
compares it with the state after every event of the simulator.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from flowgrid.config import KIB, MIB
from flowgrid.ids import AttemptId, JobId
from flowgrid.protocol.waits import AttemptProgress, Wait, WaitKind
from flowgrid_scheduler.attempts import AttemptState
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.executors import Executor
from flowgrid_scheduler.jobs import Job, JobState
from flowgrid_scheduler.stages import Stage, TaskState


def why(state: ClusterState, id_: JobId) -> tuple[Wait, ...]:
    """The chain; none if there is no such job."""
    job = state.jobs.get(id_.number)
    if job is None:
        return ()
    if job.state is JobState.SUCCEEDED:
        return (_driver(state, job, "has succeeded and keeps its result until it is released"),)
    if job.state is JobState.KEPT:
        return (_next_run(state, job),)
    live = any(stage.live for stage in job.stages)
    if not state.executors.alive or not (live or state.executors.staying()):
        return (_nobody(state, job),)
    unfinished = next((stage for stage in reversed(job.graph) if stage.remaining), None)
    if unfinished is None:
        return (_driver(state, job, "has finished all its stages and waits for the next ones"),)
    chain = list(_stages(job, unfinished))
    links = [
        Wait(WaitKind.STAGE, f"{_name(stage)} waits for {_name(upstream)}", "scheduler")
        for stage, upstream in itertools.pairwise(chain)
    ]
    first = Wait(WaitKind.STAGE, f"{job.id} waits for {_name(unfinished)}", "scheduler")
    return (first, *links, _tasks(state, job, chain[-1]))


def _stages(job: Job, stage: Stage) -> Iterator[Stage]:
    """From a stage to the one below it whose inputs are all there."""
    while True:
        yield stage
        inputs = (job.stages[edge.stage] for edge in stage.spec.inputs)
        upstream = next((one for one in inputs if not one.complete), None)
        if upstream is None:
            return
        stage = upstream


def _name(stage: Stage) -> str:
    return f"stage {stage.spec.number} {stage.spec.label!r}"


# -- for whom there is nobody --------------------------------------------------------------------


def _driver(state: ClusterState, job: Job, why_: str) -> Wait:
    session = state.sessions.open[job.session]
    silent_s = state.clock.awake_s - session.heard_s
    left_s = max(0.0, session.config.scheduler_driver_lease_s - silent_s)
    text = f"{job.id} {why_}; its driver {session.name!r} was heard {_seconds(silent_s)} ago"
    return Wait(WaitKind.DRIVER, text, f"driver {session.name}", deadline_s=left_s)


def _next_run(state: ClusterState, job: Job) -> Wait:
    session = state.sessions.named(job.session)
    name, keep_s = session.config.resume_name, session.config.resume_keep_s
    text = f"{job.id} is kept for the next run of {session.name!r} that resumes {name!r}"
    if session.lost_s is None:
        return Wait(WaitKind.DRIVER, text, f"driver {session.name}")
    left_s = max(0.0, keep_s - (state.clock.awake_s - session.lost_s))
    return Wait(WaitKind.DRIVER, text, f"driver {session.name}", deadline_s=left_s)


def _nobody(state: ClusterState, job: Job) -> Wait:
    since_s = max(state.nobody_since_s or 0.0, job.running_since_s)
    waited_s = state.clock.awake_s - since_s
    left_s = max(0.0, job.config.scheduler_no_executors_grace_s - waited_s)
    text = (
        f"{job.id} waits for any executor: there has been none for {_seconds(waited_s)}, and it "
        f"fails in {_seconds(left_s)}"
    )
    return Wait(WaitKind.EXECUTOR, text, "scheduler", deadline_s=left_s)


# -- for attempts ----------------------------------------------------------------------------------


def _tasks(state: ClusterState, job: Job, stage: Stage) -> Wait:
    """What the tasks of a stage whose inputs are there wait for: the one that is nearest to its end."""
    ours: dict[AttemptState, list[tuple[Executor, AttemptId]]] = {s: [] for s in AttemptState}
    for executor in state.executors.alive.values():
        for attempt, current in executor.attempts.items():
            if attempt.stage_id == stage.id and stage.is_current(attempt):
                ours[current].append((executor, attempt))
    done = stage.states.count(TaskState.SUCCEEDED)
    head = f"{_name(stage)} has {done} of {len(stage.states)} tasks and waits for"
    if ours[AttemptState.RUNNING]:
        executor, attempt = max(ours[AttemptState.RUNNING], key=_run_s)
        others = len(ours[AttemptState.RUNNING]) - 1
        beside = f" (and {others} more that run)" if others else ""
        text = f"{head} task {attempt.partition}{beside}, running on {_progress(executor, attempt)}"
        return _on(state, WaitKind.ATTEMPT, executor, attempt, text)
    underway = ours[AttemptState.ASSIGNED] or ours[AttemptState.CANCELLING]
    if underway:
        executor, attempt = underway[0]
        how = "in the backlog of" if ours[AttemptState.ASSIGNED] else "being cancelled on"
        text = f"{head} task {attempt.partition}, {how} {executor.id.name}{_busy_with(executor)}"
        return _on(state, WaitKind.BACKLOG, executor, attempt, text)
    return _roll_call(state, head) if state.executors.awaited else _slot(state, job, head)


def _roll_call(state: ClusterState, head: str) -> Wait:
    """This scheduler goes on with another one's jobs, and has not heard all executors yet."""
    names = ", ".join(sorted(id_.name for id_ in state.executors.awaited))
    left_s = max(0.0, state.config.scheduler_roll_call_s - state.clock.awake_s)
    text = (
        f"{head} {names} to come back to the scheduler that was started anew; it gives them up in "
        f"{_seconds(left_s)}"
    )
    return Wait(WaitKind.EXECUTOR, text, "scheduler", deadline_s=left_s)


def _slot(state: ClusterState, job: Job, head: str) -> Wait:
    """Every task waits for a slot of those who take new attempts: all their places are taken. If
    everybody leaves, it waits for what still runs on them."""
    taking = state.executors.taking() or list(state.executors.alive.values())
    candidates = job.candidates(frozenset([executor.index for executor in taking]))
    taking = [executor for executor in taking if executor.index in candidates]
    places = sum(executor.slots for executor in taking)
    taken = sum(len(executor.attempts) for executor in taking)
    executor = max(taking, key=lambda one: len(one.attempts))
    without = [
        one.id.name
        for one in state.executors.alive.values()
        if one.excluded or one.departure or one.index in job.given_up
    ]
    beside = f" ({', '.join(without)} gets no new attempts)" if without else ""
    attempts = f"for which there are {taken} attempts"
    text = f"{head} one of {places} slots{beside}, {attempts}{_busy_with(executor)}"
    occupant = next(iter(executor.attempts), None)
    return _on(state, WaitKind.SLOT, executor, occupant, text)


def _on(
    state: ClusterState, kind: WaitKind, executor: Executor, attempt: AttemptId | None, text: str
) -> Wait:
    """An executor acts next, or its silence is noticed."""
    silent_s = state.clock.awake_s - executor.heard_s
    left_s = max(0.0, state.config.executor_heartbeat_timeout_s - silent_s)
    text = f"{text}; {executor.id.name} was heard {_seconds(silent_s)} ago"
    return Wait(kind, text, f"executor {executor.id.name}", attempt, left_s)


def _run_s(place: tuple[Executor, AttemptId]) -> float:
    executor, attempt = place
    progress = executor.progress.get(attempt)
    return progress.run_s if progress is not None else 0.0


def _progress(executor: Executor, attempt: AttemptId) -> str:
    """Where and for how long, and what the slot itself says that it does."""
    progress = executor.progress.get(attempt)
    if progress is None:
        return f"{executor.id.name} for a moment"
    where = f"{executor.id.name} for {_seconds(progress.run_s)}"
    read = f" after {_size(progress.read_bytes)}" if progress.read_bytes else ""
    if progress.waits_for is None:
        return f"{where}, computing for {_seconds(progress.idle_s)}{read}"
    return f"{where}, reading what {progress.waits_for} wrote from {_source(progress, read)}"


def _source(progress: AttemptProgress, read: str) -> str:
    text = f"{progress.holder}, 0 B for {_seconds(progress.idle_s)}{read}"
    if not progress.patience_s:
        return text
    return f"{text}, given up in {_seconds(max(0.0, progress.patience_s - progress.idle_s))}"


def _busy_with(executor: Executor) -> str:
    """What takes the slots of an executor, if anything does."""
    running = [a for a, s in executor.attempts.items() if s is AttemptState.RUNNING]
    if not running:
        return ""
    attempt = max(running, key=lambda one: _run_s((executor, one)))
    others = f" and {len(running) - 1} more" if len(running) > 1 else ""
    return f", behind {attempt} ({_progress(executor, attempt)}){others}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds >= 10 else f"{seconds:.1f} s"


def _size(count: int) -> str:
    return f"{count / MIB:.1f} MiB" if count >= MIB else f"{count / KIB:.1f} KiB"
