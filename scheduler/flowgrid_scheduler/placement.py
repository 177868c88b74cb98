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


def assign(
    rotation: deque[Job], executors: Sequence[Executor], taking: frozenset[int], waiting: int = 1
) -> list[Assignment]:
    """Take tasks from the queues of the jobs until all places are full or nothing is ready. `taking`
    are those that take attempts, also without room for any now; `waiting` is how many attempts there
    may be behind each slot."""
    assignments: list[Assignment] = []
    given = dict.fromkeys((executor.index for executor in executors), 0)
    for behind in (0, waiting):
        share = _share(rotation, len(executors)) if behind > 1 else 1
        hungry = [e for e in executors if e.places(behind) > given[e.index]]
        while hungry and any(job.open for job in rotation):
            hungry.sort(key=lambda e: ((len(e.attempts) + given[e.index]) / e.slots, e.index))
            fed = []
            for executor in hungry:
                room = executor.places(behind) - given[executor.index]
                for _ in range(min(room, share)):
                    found = _next_task(rotation, executor.index, taking, steal=behind == 0)
                    if found is None:
                        break
                    assignments.append(Assignment(executor, *found))
                    given[executor.index] += 1
                else:
                    if room > share:
                        fed.append(executor)
            hungry = fed
    return assignments


def _share(rotation: deque[Job], executors: int) -> int:
    """How many tasks for a long backlog an executor gets at once: the fewer there are left, the
    fewer, so that all end at the same time."""
    pending = sum(len(stage.queue) for job in rotation for stage in job.open)
    return max(1, pending // (4 * executors))


def _next_task(
    rotation: deque[Job], executor: int, taking: frozenset[int], steal: bool
) -> tuple[Stage, int] | None:
    """A task of the job whose turn it is; that job then goes to the end of the line."""
    for _ in range(len(rotation)):
        job = rotation[0]
        rotation.rotate(-1)
        found = job.take(executor, taking, steal)
        if found is not None:
            return found
    return None
