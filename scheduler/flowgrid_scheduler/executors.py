"""Who is alive, with which attempts, and since when nothing was heard.

An executor is one incarnation of one process. It is known by its index, which like its id is never
given twice, so that arrays can hold it. What is lost never comes back under the same id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

import msgspec

from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.protocol.job_graph import ExecutorAddress
from flowgrid.protocol.messages import Heartbeat
from flowgrid.protocol.status import ExecutorStatus
from flowgrid.protocol.waits import AttemptProgress
from flowgrid_scheduler.attempts import TRANSITIONS, AttemptState, Word

WORD_OVERDUE_S = 2.0
"""An envelope that a heartbeat counts and that has not come after so long is lost."""

_DEPARTED_MAX = 10_000

T = TypeVar("T")


class Departed(Generic[T]):
    """The last ten thousand names that must not come back."""

    def __init__(self) -> None:
        self._names: dict[T, None] = {}

    def add(self, name: T) -> None:
        self._names[name] = None
        if len(self._names) > _DEPARTED_MAX:
            del self._names[next(iter(self._names))]

    def __contains__(self, name: T) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[T]:
        return iter(self._names)


class Departure(msgspec.Struct):
    """What an executor that is to leave still has to see done (`departures`)."""

    copies: dict[AttemptId, int] = {}
    """Blocks on their way, with the index of the executor that fetches them."""
    tries: dict[AttemptId, int] = {}
    """Copies that failed."""
    readers: dict[AttemptId, None] = {}
    """Attempts that were told to read here what has moved since."""
    stopping: bool = False

    def fingerprint(self) -> list[object]:
        counts = [[str(a), n] for both in (self.copies, self.tries) for a, n in both.items()]
        return [counts, [str(reader) for reader in self.readers], self.stopping]


class Executor:
    """One living executor as the scheduler sees it."""

    def __init__(self, index: int, address: ExecutorAddress, slots: int, awake_s: float) -> None:
        self.index = index
        self.id = address.executor
        self.address = address
        self.slots = slots
        self.received = 0
        """Envelopes that came: the sequence of the next one."""
        self.heard_s = awake_s
        self.blocks_bytes = 0
        self.excluded_directories: tuple[str, ...] = ()
        """What its last heartbeat said of its bad disks, for people."""
        self.attempts: dict[AttemptId, AttemptState] = {}
        """Attempts that count against its slots: launched, and no last word yet."""
        self.progress: dict[AttemptId, AttemptProgress] = {}
        """What its last heartbeat said of the attempts that take longer than a moment."""
        self.started_s: dict[AttemptId, float] = {}
        """Since when a slot runs them."""
        self.evidence: dict[str, float] = {}
        """What speaks against it (`exclusion`): witnesses, and when each was heard last."""
        self.excluded = ""
        """Why it gets no new attempts for a while, or ""."""
        self.excluded_until_s = 0.0
        self.departure: Departure | None = None
        self.told: dict[int, dict[int, tuple[int, ...]]] = {}
        """By job and stage: described, with the versions of the inputs that were last located."""
        self._owed: tuple[int, float] | None = None

    @property
    def slots_free(self) -> int:
        return max(0, self.slots - len(self.attempts))

    def places(self, waiting: int) -> int:
        """Attempts that it may still be given, if so many may wait behind each slot (`backlogs`)."""
        return self.slots * (1 + waiting) - len(self.attempts)

    def step(self, attempt: AttemptId, word: Word) -> AttemptState | None:
        """Move an attempt by a word and return its state before; None if the word has no effect."""
        before = self.attempts.get(attempt)
        if before is None:
            return None
        after = TRANSITIONS.get((before, word))
        if after is None:
            return None
        if after > AttemptState.CANCELLING:
            self.forget(attempt)
        else:
            self.attempts[attempt] = after
        return before

    def forget(self, attempt: AttemptId) -> None:
        """It has no place here any more."""
        del self.attempts[attempt]
        self.started_s.pop(attempt, None)

    def beat(self, heartbeat: Heartbeat, awake_s: float) -> None:
        """Take note of a heartbeat and of the envelopes it promises."""
        self.heard_s = awake_s
        self.blocks_bytes = heartbeat.blocks_bytes
        self.excluded_directories = heartbeat.excluded_directories
        self.progress = {progress.attempt: progress for progress in heartbeat.running}
        if self._owed is None and heartbeat.sent > self.received:
            self._owed = (heartbeat.sent, awake_s)

    def complaint(self, awake_s: float, timeout_s: float) -> str:
        """Why this executor counts as lost now, or ""."""
        if self._owed is not None:
            owed, since = self._owed
            if self.received >= owed:
                self._owed = None
            elif awake_s - since > WORD_OVERDUE_S:
                return f"envelope {self.received} of {owed} never came"
        silent_s = awake_s - self.heard_s
        return f"silent for {silent_s:.1f} s" if silent_s > timeout_s else ""

    def status(self, awake_s: float) -> ExecutorStatus:
        """For people."""
        return ExecutorStatus(
            self.id,
            self.address.host,
            self.slots,
            running=sum(state == AttemptState.RUNNING for state in self.attempts.values()),
            heartbeat_age_s=awake_s - self.heard_s,
            blocks_bytes=self.blocks_bytes,
            excluded=self.excluded,
            leaving=self._leaving(),
            excluded_directories=self.excluded_directories,
        )

    def _leaving(self) -> str:
        if self.departure is None:
            return ""
        moving, readers = len(self.departure.copies), len(self.departure.readers)
        return f"{len(self.attempts)} attempts, {moving} blocks on their way, {readers} readers"

    def fingerprint(self) -> list[object]:
        """Everything that matters here as plain data."""
        told = [[job, sorted(stages.items())] for job, stages in sorted(self.told.items())]
        attempts = [
            [str(attempt), int(state), self.started_s.get(attempt)]
            for attempt, state in self.attempts.items()
        ]
        numbers = [self.index, self.slots, self.received, self.heard_s, self.blocks_bytes]
        excluded = [self.excluded, self.excluded_until_s, sorted(self.evidence.items())]
        leaving = self.departure.fingerprint() if self.departure is not None else None
        return [str(self.id), numbers, list(self._owed or ()), attempts, told, excluded, leaving]


class Executors:
    """All executors of the cluster."""

    def __init__(self) -> None:
        self.alive: dict[ExecutorId, Executor] = {}
        self.departed: Departed[ExecutorId] = Departed()
        self.awaited: dict[ExecutorId, Executor] = {}
        """Those of the alive that are known from the log only: they have not come back yet."""
        self.known: dict[int, tuple[ExecutorAddress, int]] = {}
        """Address and slots by index, also of those that are gone."""

    def register(self, address: ExecutorAddress, slots: int, awake_s: float) -> Executor:
        index = max(self.known, default=-1) + 1
        executor = Executor(index, address, slots, awake_s)
        self.known[index] = address, slots
        self.alive[executor.id] = executor
        return executor

    def restore(self, index: int, address: ExecutorAddress, slots: int, alive: bool) -> None:
        """One that an earlier scheduler knew."""
        self.known[index] = address, slots
        if alive:
            executor = Executor(index, address, slots, 0.0)
            self.alive[executor.id] = self.awaited[executor.id] = executor
        else:
            self.departed.add(address.executor)

    def remove(self, executor: Executor) -> None:
        del self.alive[executor.id]
        self.awaited.pop(executor.id, None)
        self.departed.add(executor.id)

    def present(self, id_: ExecutorId) -> bool:
        """Whether it is one of us and has said so to this scheduler."""
        return id_ in self.alive and id_ not in self.awaited

    def forget_departed(self) -> list[int]:
        """The indexes of those that are gone; no job asks for their addresses any more."""
        indexes = {executor.index for executor in self.alive.values()}
        gone = [index for index in self.known if index not in indexes]
        for index in gone:
            del self.known[index]
        return gone

    def address_of(self, index: int) -> ExecutorAddress:
        """Also of one that is gone: a sink's files outlive the executor that wrote them."""
        return self.known[index][0]

    def taking(self) -> list[Executor]:
        """Those that get new attempts: nobody, while the roll is called."""
        if self.awaited:
            return []
        return [executor for executor in self.staying() if not executor.excluded]

    def staying(self) -> list[Executor]:
        """Those that nobody asked to leave."""
        return [executor for executor in self.alive.values() if executor.departure is None]

    @property
    def slots(self) -> int:
        return sum(executor.slots for executor in self.staying())

    def fingerprint(self) -> list[object]:
        alive = [executor.fingerprint() for executor in self.alive.values()]
        awaited = [str(name) for name in self.awaited]
        return [alive, awaited, [str(name) for name in self.departed], sorted(self.known)]
