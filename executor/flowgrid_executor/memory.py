"""Pure: how the executor's memory is shared out, and what becomes of an attempt that takes more.

An attempt that runs out of memory, or uses more than its slot has, runs once more, with the executor for
itself: nothing beside it, all of the memory, one thread, small batches. What fails then fails by name.
"""

from __future__ import annotations

from flowgrid.config import EXECUTOR_OWN_BYTES, MIB
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid_executor.executor_setup import ExecutorSetup

IDLE_SLOT_BYTES = 40 * MIB
"""Of a slot that has run something small and does nothing, measured: Python, Arrow, an empty kernel."""

ALONE_BATCH_ROWS = 2_048
"""Rows per batch of an attempt for which memory is short: the kernel's own vectors, not more."""

_KERNEL_SHARE = 0.75
"""For the kernel, which spills above it; the rest is for Arrow batches in flight and user code."""

_KERNEL_SHARE_AFTER_OVERRUN = 0.4
"""When that rest was not enough: the kernel spills earlier."""

_FULL_BATCHES_BYTES = 512 * MIB
"""A slot with less gets smaller batches: several copies of one are on their way at a time."""

_CHUNKS_PER_SLOT = 32
"""As many chunks of a shuffle's writer would fill a slot: it holds about four copies of one."""

_ROW_GROUPS_PER_SLOT = 16
"""As many row groups would fill a slot: while one is written its rows are there and what they become."""


def slot_share(setup: ExecutorSetup, alone: bool) -> int:
    """Bytes for the process of one slot: an equal part, or all that idle slots leave. An executor with
    next to nothing gives at least half of it to its slots."""
    idle = (setup.slot_count - 1) * IDLE_SLOT_BYTES if alone else 0
    left = setup.memory_bytes - EXECUTOR_OWN_BYTES - idle
    return max(left, setup.memory_bytes // 2) // (1 if alone else setup.slot_count)


def held_bytes_max(setup: ExecutorSetup) -> int:
    """What a slot may still hold when its attempt has ended. What holds more than half of its share is
    forked anew: what it keeps makes the next one faster, but not if there is no room for it."""
    return (slot_share(setup, alone=False) + IDLE_SLOT_BYTES) // 2


def kernel_share(slot_bytes: int, overran: bool) -> int:
    """Bytes above which the kernel of a slot spills; less for an attempt that `overran` before."""
    share = _KERNEL_SHARE_AFTER_OVERRUN if overran else _KERNEL_SHARE
    return max(int((slot_bytes - IDLE_SLOT_BYTES) * share), slot_bytes // 4)


def batch_rows(rows: int, slot_bytes: int) -> int:
    """Rows per batch in a slot of so many bytes, where there should be `rows`: whole vectors."""
    fitting = rows * slot_bytes // _FULL_BATCHES_BYTES
    vectors = max(fitting // ALONE_BATCH_ROWS, 1)
    return min(rows, vectors * ALONE_BATCH_ROWS)


def chunk_bytes(bytes_max: int, slot_bytes: int) -> int:
    """Bytes of rows that a shuffle's writer puts together in a slot of so many bytes."""
    return min(bytes_max, slot_bytes // _CHUNKS_PER_SLOT)


def row_group_bytes(bytes_max: int, slot_bytes: int) -> int:
    """Bytes of rows that wait in a slot of so many bytes until their row groups are full."""
    return min(bytes_max, slot_bytes // _ROW_GROUPS_PER_SLOT)


def overrun(used_bytes: int, share_bytes: int) -> str:
    """What an attempt did, as the end of a sentence about it."""
    return f"used {used_bytes / MIB:,.0f} MiB of memory where its slot has {share_bytes / MIB:,.0f} MiB"


def memory_failure(setup: ExecutorSetup, failure: Failure) -> Failure:
    """The last word on an attempt that had the executor for itself. A failure's message is what
    happened, as the start of a sentence."""
    first_line = failure.message.partition("\n")[0].rstrip(". ")
    limit = f"{setup.memory_bytes / MIB:,.0f} MiB"
    message = f"{first_line}, alone on an executor with {limit} of memory in total"
    return Failure(FailureKind.OUT_OF_MEMORY, message, failure.traceback)
