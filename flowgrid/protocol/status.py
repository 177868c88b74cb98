"""What a scheduler tells people who look: executors, jobs, stages."""

from __future__ import annotations

import msgspec

from flowgrid.ids import ExecutorId, JobId, StageId


class ExecutorStatus(msgspec.Struct, frozen=True):
    executor: ExecutorId
    host: str
    slots: int
    running: int
    heartbeat_age_s: float
    blocks_bytes: int
    excluded: str = ""
    """Why it gets no new attempts for a while."""
    leaving: str = ""
    """What it still has to see done before it leaves."""
    excluded_directories: tuple[str, ...] = ()
    """Local directories that it writes nothing to any more, each with the reason."""


class StageStatus(msgspec.Struct, frozen=True):
    stage: StageId
    label: str
    state: str
    tasks: int
    running: int
    succeeded: int
    attempts: int


class JobStatus(msgspec.Struct, frozen=True):
    job: JobId
    name: str
    session: str
    state: str
    age_s: float
    stages: tuple[StageStatus, ...]
