"""Names of the things that live in a cluster: one small frozen type per noun.

Nothing here is ever reused. An executor that starts again is a new `ExecutorId`; every try of a task
is a new `AttemptId`. Every message and every file name carries these, so that a late word from the
past is recognised on sight. They nest when printed: ``job-7/stage-2/task-13#1``.
"""

from __future__ import annotations

import msgspec


class JobId(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """One submitted run of one plan; numbered by the scheduler from 1."""

    number: int

    def __str__(self) -> str:
        return f"job-{self.number}"


class StageId(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """One stage of a job; numbered by the driver from 0 in the order of submission."""

    job: int
    number: int

    def __str__(self) -> str:
        return f"job-{self.job}/stage-{self.number}"


class TaskId(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """One partition of one stage. It stays the same however often it is tried."""

    job: int
    stage: int
    partition: int

    def __str__(self) -> str:
        return f"job-{self.job}/stage-{self.stage}/task-{self.partition}"


class AttemptId(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """One try of a task; `number` is 0 for the first and is never given twice."""

    job: int
    stage: int
    partition: int
    number: int

    @property
    def task(self) -> TaskId:
        return TaskId(self.job, self.stage, self.partition)

    @property
    def stage_id(self) -> StageId:
        return StageId(self.job, self.stage)

    def __str__(self) -> str:
        return f"job-{self.job}/stage-{self.stage}/task-{self.partition}#{self.number}"


class ExecutorId(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """One life of one executor process: a name that people read and a random 64-bit incarnation."""

    name: str
    incarnation: int

    def __str__(self) -> str:
        return f"{self.name}@{self.incarnation:016x}"


class ProgramId(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """One program that was submitted to run on the cluster; numbered by the scheduler from 1."""

    number: int

    def __str__(self) -> str:
        return f"program-{self.number}"


class DriverId(msgspec.Struct, frozen=True, order=True, array_like=True, gc=False):
    """One try to run a submitted program: a process on an executor; `number` is 0 for the first."""

    program: int
    number: int

    @property
    def program_id(self) -> ProgramId:
        return ProgramId(self.program)

    def __str__(self) -> str:
        return f"program-{self.program}#{self.number}"
