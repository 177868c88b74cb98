"""The plan as it travels: stages with their edges, user code and queries opaque.

The scheduler reads everything in here except `StageSpec.payload` and `StageSpec.tasks`, which only an
executor's slot understands (`flowgrid.protocol.fragment`). A job graph may grow while its job runs.
"""

from __future__ import annotations

import enum

import msgspec

from flowgrid.ids import ExecutorId, StageId


class OutputKind(enum.StrEnum):
    """What the tasks of a stage leave behind."""

    BLOCKS = "blocks"
    """Blocks on the executor, for later stages or for the driver."""
    FILES = "files"
    """Files in the staging place of a sink; nothing can lose them but their file system."""


class Slice(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """The part of an upstream stage that one task reads: targets × producer partitions, half open."""

    target_start: int
    target_stop: int
    partition_start: int
    partition_stop: int


NOTHING = Slice(0, 0, 0, 0)


class StageInput(msgspec.Struct, frozen=True):
    """An edge of the job graph: what the tasks of a stage read of an earlier stage.

    `slices` has one entry per task; None means that every task reads everything (a broadcast).
    """

    stage: int
    slices: tuple[Slice, ...] | None = None


class ExecutorAddress(msgspec.Struct, frozen=True):
    """Where the blocks of an executor (or of a driver) can be read.

    A reader with the same `host` maps files below `directories`; any other asks `data_address`.
    """

    executor: ExecutorId
    host: str
    directory: str
    data_address: str
    more_directories: tuple[str, ...] = ()

    @property
    def directories(self) -> tuple[str, ...]:
        """Each block file is in one of them."""
        return self.directory, *self.more_directories


class StageOutputs(msgspec.Struct, frozen=True):
    """Exactly which attempt to read for each partition of a stage, and who holds it.

    `holders[p]` indexes `executors`; `attempts[p]` is the attempt's number. Both are -1 for a partition
    that is lost and that no slice of an unfinished task contains. Partition order is the
    order in which readers concatenate, so a recomputed answer is the same answer. `written_as` names
    the stage in the files' names where that is not this one: a driver numbers its own tables.
    """

    stage: int
    executors: tuple[ExecutorAddress, ...]
    holders: tuple[int, ...]
    attempts: tuple[int, ...]
    written_as: StageId | None = None


class StageSpec(msgspec.Struct, frozen=True):
    """One stage: the same fragment for each of `partition_count` tasks.

    `target_count` is the number of downstream partitions that each task writes. `given` marks a stage
    whose blocks the driver itself holds (a table from the user's memory): it is never run, it has
    `given_rows[p][t]` rows, and its loss is the driver's loss. Stages with the same `identity` have
    the same rows, in whatever run of a program; one with none is like no other.
    """

    number: int
    label: str
    partition_count: int
    output: OutputKind
    target_count: int = 1
    inputs: tuple[StageInput, ...] = ()
    payload: bytes = b""
    tasks: tuple[bytes, ...] = ()
    given: StageOutputs | None = None
    given_rows: tuple[tuple[int, ...], ...] = ()
    deterministic: bool = True
    identity: bytes = b""


class StageStatistics(msgspec.Struct, frozen=True):
    """Exact sizes of a finished stage, per target partition: what adaptive planning reads."""

    rows: tuple[int, ...]
    bytes: tuple[int, ...]

    @property
    def total_rows(self) -> int:
        return sum(self.rows)

    @property
    def total_bytes(self) -> int:
        return sum(self.bytes)
