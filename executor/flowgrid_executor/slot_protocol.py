"""What supervisor, template and slots say to each other over unix socketpairs.

The supervisor asks the template to fork a slot and hands over one end of a stream socketpair; from
then on it talks to the slot directly: one `RunAttempt` at a time, one answer each. Kills and deaths go
through the template, because only a parent knows that a process id still means its child.
"""

from __future__ import annotations

import signal
from typing import TypeAlias

import msgspec

from flowgrid.ids import AttemptId
from flowgrid.protocol.failures import Failure
from flowgrid.protocol.job_graph import Slice, StageOutputs
from flowgrid.protocol.reports import AttemptReport


class AttemptError(Exception):
    """Ends an attempt with a typed failure; `directory` is the local one that is to blame for it."""

    def __init__(self, failure: Failure, directory: str = "") -> None:
        super().__init__(failure.message)
        self.failure = failure
        self.directory = directory


# -- supervisor and slot ---------------------------------------------------------------------------


class RunAttempt(msgspec.Struct, frozen=True, tag=True):
    """Everything a slot needs to run one attempt.

    The attempt writes ``directory/file_name(attempt)`` and nothing else there; while it is being
    written, its name has a suffix that starts with a dot (``….tmp``), so that the leftovers of a killed
    attempt are found. `spill_directory` is the slot's own and is emptied when the slot dies.
    `memory_bytes` is all that its process may use, `kernel_bytes` what the kernel may before it spills.
    `slices[i]` is what this task reads of input i; None is a broadcast. `host` is this executor's: a
    producer with the same host is mapped, any other fetched. `progress_path` is where the slot notes
    what it waits for (`progress`).
    """

    attempt: AttemptId
    payload: bytes
    task: bytes
    inputs: tuple[StageOutputs, ...]
    slices: tuple[Slice | None, ...]
    target_count: int
    directory: str
    spill_directory: str
    memory_bytes: int
    kernel_bytes: int
    threads: int
    host: str
    settings: dict[str, str]
    keys_directory: str = ""
    progress_path: str = ""


class AttemptDone(msgspec.Struct, frozen=True, tag=True):
    attempt: AttemptId
    report: AttemptReport


class AttemptBroke(msgspec.Struct, frozen=True, tag=True):
    """`directory` is that of the request which is to blame for a full or a bad disk."""

    attempt: AttemptId
    failure: Failure
    directory: str = ""


FromSlot: TypeAlias = AttemptDone | AttemptBroke


# -- supervisor and template -----------------------------------------------------------------------


class ForkSlot(msgspec.Struct, frozen=True, tag=True):
    """Comes with the slot's end of its socketpair as a file descriptor."""

    slot: int


class KillSlot(msgspec.Struct, frozen=True, tag=True):
    slot: int


ToTemplate: TypeAlias = ForkSlot | KillSlot


class SlotForked(msgspec.Struct, frozen=True, tag=True):
    slot: int
    pid: int


class SlotDied(msgspec.Struct, frozen=True, tag=True):
    """`exit_code` is negative for a signal, as in `subprocess`; `killed` says that we sent it, and
    `starved`, which only the supervisor finds, that the system did because memory ran out."""

    slot: int
    exit_code: int
    killed: bool = False
    starved: bool = False


FromTemplate: TypeAlias = SlotForked | SlotDied


def describe_exit(exit_code: int) -> str:
    """How a process ended, as the rest of a sentence; negative codes are signals."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    try:
        return f"was killed by {signal.Signals(-exit_code).name}"
    except ValueError:  # a real-time signal has no name
        return f"was killed by signal {-exit_code}"
