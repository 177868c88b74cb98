"""Pure: ready tasks and free places to assignments.

First every free slot gets a task: one that reads mostly what this executor holds, or anybody's, or
one that waits for a busy executor. Then the backlogs are filled, but only with tasks that are at home
there or nowhere. Executors take turns by load, jobs take turns by their order in `rotation`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from flowgrid_scheduler.executors import Executor
from flowgrid_scheduler.jobs import Job
from flowgrid_scheduler.stages import Stage


class Assignment(NamedTuple):
    """One task of a stage, taken from its queue, to one executor."""

    executor: Executor
    stage: Stage
    partition: int


def assign(rotation: deque[Job], executors: Sequence[Executor], alone: bool) -> list[Assignment]:
    """Take tasks from the queues of the jobs until all places are full or nothing is ready."""
    assignments: list[Assignment] = []
    given = dict.fromkeys((executor.index for executor in executors), 0)
    for backlog in (False, True):
        hungry = [e for e in executors if (e.room if backlog else e.slots_free) > given[e.index]]
        while hungry and any(job.open for job in rotation):
            hungry.sort(key=lambda e: ((len(e.attempts) + given[e.index]) / e.slots, e.index))
            fed = []
            for executor in hungry:
                found = _next_task(rotation, executor.index, alone, steal=not backlog)
                if found is None:
                    continue
                assignments.append(Assignment(executor, *found))
                given[executor.index] += 1
                limit = executor.room if backlog else executor.slots_free
                if limit > given[executor.index]:
                    fed.append(executor)
            hungry = fed
    return assignments


def _next_task(
    rotation: deque[Job], executor: int, alone: bool, steal: bool
) -> tuple[Stage, int] | None:
    """A task of the job whose turn it is; that job then goes to the end of the line."""
    for _ in range(len(rotation)):
        job = rotation[0]
        rotation.rotate(-1)
        found = job.take(executor, alone, steal)
        if found is not None:
            return found
    return None
