"""What a job waits for, as a chain of sentences, and what executors report so that it can be told."""

from __future__ import annotations

import enum

import msgspec

from flowgrid.ids import AttemptId, JobId


class AttemptProgress(msgspec.Struct, frozen=True, array_like=True):
    """How far an attempt is that has been running for more than a moment.

    `waits_for` is the attempt whose blocks it waits for now, held by the executor named `holder`; None
    while it computes. It has been doing either for `idle_s`, and gives the blocks up when nothing has
    come for `patience_s` (0: they are mapped files, which come or fail at once).
    """

    attempt: AttemptId
    run_s: float
    read_bytes: int = 0
    idle_s: float = 0.0
    waits_for: AttemptId | None = None
    holder: str = ""
    patience_s: float = 0.0


class WaitKind(enum.StrEnum):
    """What a link of the chain waits for."""

    STAGE = "stage"
    """For an earlier stage of the same job: the next link says for what that one waits."""
    ATTEMPT = "attempt"
    """For an attempt that runs."""
    BACKLOG = "backlog"
    """For an attempt that waits in the backlog of an executor."""
    SLOT = "slot"
    """For a slot: all that could be used are taken."""
    EXECUTOR = "executor"
    """For any executor at all, or for one that is known and has not come back yet."""
    DRIVER = "driver"
    """For the next word of the driver."""


class Wait(msgspec.Struct, frozen=True):
    """One link. `owner` is who acts next: an executor, the driver or the scheduler, by name.

    `attempt` is the one that is waited for, or that holds the slot. At the latest in `deadline_s`
    seconds the scheduler acts by itself: it gives up whoever has been silent, or the job.
    """

    kind: WaitKind
    text: str
    owner: str
    attempt: AttemptId | None = None
    deadline_s: float | None = None


class AskWhy(msgspec.Struct, frozen=True, tag=True):
    """What does this job wait for? May come without a session; answered by `JobWaits`."""

    job: JobId


class JobWaits(msgspec.Struct, frozen=True, tag=True):
    """The chain of what a job waits for, from the job to whoever acts next; none if there is no such
    job."""

    job: JobId
    waits: tuple[Wait, ...]


class JobStalled(msgspec.Struct, frozen=True, tag=True):
    """A warning: nothing of the job has moved for `seconds`. It goes on waiting."""

    job: JobId
    seconds: float
    waits: tuple[Wait, ...]


def sentence(waits: tuple[Wait, ...]) -> str:
    """The whole chain, for people."""
    return "; ".join(wait.text for wait in waits)
