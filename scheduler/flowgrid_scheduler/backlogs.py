"""Pure: how many attempts wait at an executor behind each of its slots.

One as a rule, so that a slot that gets free finds the next attempt there, and so that what waits behind
a long one is little. Attempts that are shorter than a round trip would leave the slots without work and
cost an envelope each: of those there are as many as last `BACKLOG_S`. Jobs share the backlogs, so the
most careful answer of all jobs that have tasks counts.
"""

from __future__ import annotations

from collections.abc import Iterable

from flowgrid_scheduler.jobs import Job
from flowgrid_scheduler.stages import Stage

BACKLOG_S = 0.02
"""How long a task of another job may have to wait for short ones: nobody notices."""

ATTEMPT_S_MIN = 0.000_1
"""What an executor needs for an attempt that does nothing."""

BACKLOG_MAX = int(BACKLOG_S / ATTEMPT_S_MIN)

SUCCESSES_MIN = 16
"""With fewer nobody knows what the tasks of a stage take."""


def attempts_per_slot(jobs: Iterable[Job]) -> int:
    """How many attempts may wait behind each slot, of the tasks that these jobs have now."""
    depths = [_depth(stage) for job in jobs for stage in job.open if stage.queue]
    return min(depths, default=1)


def _depth(stage: Stage) -> int:
    if len(stage.states) - stage.remaining < SUCCESSES_MIN or stage.tallies:
        return 1  # or something is wrong with some of them
    typical_s = stage.paces.typical_s
    return 1 if typical_s is None else max(1, int(BACKLOG_S / (ATTEMPT_S_MIN + typical_s)))
