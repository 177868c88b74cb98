"""Jobs of which nothing moves: noticed on a tick, and told to their drivers with what they wait for.

Movement is a task that starts or ends, a stage that is added, or a byte that a running attempt reads. A
long computation moves nothing either; to hear of it once a minute does no harm.
"""

from __future__ import annotations

from typing import TypeAlias

from flowgrid.ids import JobId
from flowgrid.protocol.waits import JobStalled
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.jobs import Job
from flowgrid_scheduler.waiting import why

_Position: TypeAlias = list[object]


class Movements:
    """Where each running job was when it last moved, and what its driver was told since."""

    def __init__(self) -> None:
        self._seen: dict[int, tuple[_Position, float]] = {}
        self._warned_s: dict[int, float] = {}

    def check(self, state: ClusterState) -> None:
        """Warn of the jobs that have not moved for too long, and again after as long."""
        now_s = state.clock.awake_s
        running = {job.id.number for job in state.rotation}
        for number in [number for number in self._seen if number not in running]:
            del self._seen[number]
            self._warned_s.pop(number, None)
        for job in state.rotation:
            position = _position(state, job)
            before, since_s = self._seen.get(job.id.number, ([], now_s))
            if position != before:
                self._seen[job.id.number] = (position, now_s)
                self._warned_s.pop(job.id.number, None)
                continue
            limit_s = job.config.scheduler_stall_warning_s
            if limit_s and now_s - self._warned_s.get(job.id.number, since_s) >= limit_s:
                self._warned_s[job.id.number] = now_s
                waits = why(state, JobId(job.id.number))
                state.out.to_driver(job.session, JobStalled(job.id, now_s - since_s, waits))


def _position(state: ClusterState, job: Job) -> _Position:
    stages: _Position = [[stage.remaining, stage.live, stage.running] for stage in job.stages]
    read = [
        [str(attempt), progress.read_bytes]
        for executor in state.executors.alive.values()
        for attempt, progress in executor.progress.items()
        if attempt.job == job.id.number
    ]
    return [stages, read]
