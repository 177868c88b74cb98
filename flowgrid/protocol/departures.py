"""Words about executors that get no new attempts: they fail what others can do, or they leave."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.protocol.job_graph import ExecutorAddress
from flowgrid.protocol.reports import AttemptReport

# -- to drivers ------------------------------------------------------------------------------------


class ExecutorExcluded(msgspec.Struct, frozen=True, tag=True):
    """An executor gets no new attempts for `duration_s`, because of `reason`."""

    executor: ExecutorId
    reason: str
    duration_s: float


class ExecutorReadmitted(msgspec.Struct, frozen=True, tag=True):
    """It gets new attempts again."""

    executor: ExecutorId


# -- to executors ----------------------------------------------------------------------------------


class BlocksCorrupt(msgspec.Struct, frozen=True, tag=True):
    """A reader found that the blocks of this attempt are not what was written; nobody is told to read
    them any more."""

    attempt: AttemptId


# -- an executor leaves ----------------------------------------------------------------------------


class DecommissionExecutor(msgspec.Struct, frozen=True, tag=True):
    """An executor, by name or whole id, is to leave when its work is done and its blocks are moved.

    May come without a session; answered by `DecommissionAnswered`.
    """

    executor: str


class DecommissionAnswered(msgspec.Struct, frozen=True, tag=True):
    """For people; `refused` if nothing was done because there is no such executor."""

    text: str
    refused: bool = False


class CopyBlocks(msgspec.Struct, frozen=True, tag=True):
    """Fetch all blocks of these attempts from their holder, who is leaving; each is answered.

    `reports` are what the attempts said of them, to answer a roll call with.
    """

    attempts: tuple[AttemptId, ...]
    reports: tuple[AttemptReport, ...]
    source: ExecutorAddress


BlockOrder: TypeAlias = BlocksCorrupt | CopyBlocks


class BlocksCopied(msgspec.Struct, frozen=True, tag=True):
    """The blocks of another executor's attempt are here now, under the same name."""

    attempt: AttemptId


class CopyFailed(msgspec.Struct, frozen=True, tag=True):
    attempt: AttemptId
    reason: str
