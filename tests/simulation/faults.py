"""What can go wrong, and how often: every seed draws its own weather.

A swarm finds more than one climate: a schedule with every fault at once never gets far enough for the
rare ones, so each seed switches most faults off and draws the rates of the others.
"""

from __future__ import annotations

import dataclasses
import enum
import random
from collections.abc import Mapping

from flowgrid.protocol.failures import FailureKind


class Fault(enum.Enum):
    """Those in `WEATHER` happen to the cluster so often per second, the others so often per chance."""

    KILL_EXECUTOR = enum.auto()
    STOP_EXECUTOR = enum.auto()
    """In good order: it says goodbye."""
    DECOMMISSION = enum.auto()
    """Somebody asks the scheduler to let an executor go."""
    JOIN_EXECUTOR = enum.auto()
    HOST_LOST = enum.auto()
    """Executors and their disks at once, and no connection says so."""
    PAUSE_EXECUTOR = enum.auto()
    PAUSE_SCHEDULER = enum.auto()
    KILL_SCHEDULER = enum.auto()
    """It is started again on its log, and no job may end of that."""
    PAUSE_DRIVER = enum.auto()
    KILL_DRIVER = enum.auto()
    CANCEL_JOB = enum.auto()
    KILL_TEMPLATE = enum.auto()
    SLOW_EXECUTOR = enum.auto()
    """What begins on it takes many times as long, for a while."""
    FLAKY_EXECUTOR = enum.auto()
    """Most of its slots die of what they run, until the calm."""
    BREAK_CONNECTION = enum.auto()
    CLOG_CONNECTION = enum.auto()
    CUT_DATA = enum.auto()
    """Two hosts cannot read each other's blocks for a while."""
    DISK_FULL = enum.auto()
    """One directory of an executor, or all, for a while."""
    DISK_BAD = enum.auto()
    """One directory of an executor, until the calm."""
    BLOCK_CORRUPT = enum.auto()
    BLOCK_VANISHES = enum.auto()
    DUPLICATE = enum.auto()
    """Per message."""
    CRASH = enum.auto()
    """Per attempt, like all that follow."""
    USER_ERROR = enum.auto()
    OUT_OF_MEMORY = enum.auto()
    """It says so itself, or is found to use more than its slot has, in time or too late."""
    ROWS_LOST = enum.auto()
    """A reader that misses a row of its input, and does not know."""
    SLOW = enum.auto()
    UNSTABLE_STAGE = enum.auto()
    """Per stage: its tasks compute something else in every attempt."""


WEATHER = (
    Fault.KILL_EXECUTOR,
    Fault.STOP_EXECUTOR,
    Fault.DECOMMISSION,
    Fault.JOIN_EXECUTOR,
    Fault.HOST_LOST,
    Fault.PAUSE_EXECUTOR,
    Fault.PAUSE_SCHEDULER,
    Fault.KILL_SCHEDULER,
    Fault.PAUSE_DRIVER,
    Fault.KILL_DRIVER,
    Fault.CANCEL_JOB,
    Fault.KILL_TEMPLATE,
    Fault.SLOW_EXECUTOR,
    Fault.FLAKY_EXECUTOR,
    Fault.BREAK_CONNECTION,
    Fault.CLOG_CONNECTION,
    Fault.CUT_DATA,
    Fault.DISK_FULL,
    Fault.DISK_BAD,
    Fault.BLOCK_CORRUPT,
    Fault.BLOCK_VANISHES,
)

_RATES_PER_S = (0.2, 0.6, 2.0)
_CHANCES = (0.01, 0.05, 0.2)
_ENABLED = 0.3

_UNREADABLE = {
    Fault.BLOCK_CORRUPT,
    Fault.BLOCK_VANISHES,
    Fault.CUT_DATA,
    Fault.PAUSE_EXECUTOR,
    Fault.PAUSE_DRIVER,
    Fault.KILL_EXECUTOR,
    Fault.STOP_EXECUTOR,
    Fault.HOST_LOST,
    Fault.BREAK_CONNECTION,
    Fault.CLOG_CONNECTION,
    Fault.KILL_TEMPLATE,
}
_DEADLY = {
    Fault.CRASH,
    Fault.FLAKY_EXECUTOR,
    Fault.KILL_EXECUTOR,
    Fault.HOST_LOST,
    Fault.KILL_TEMPLATE,
    Fault.PAUSE_EXECUTOR,
    Fault.BREAK_CONNECTION,
    Fault.CLOG_CONNECTION,
    Fault.PAUSE_SCHEDULER,
}

_LOSES_SESSIONS = {
    Fault.BREAK_CONNECTION,
    Fault.CLOG_CONNECTION,
    Fault.PAUSE_DRIVER,
    Fault.PAUSE_SCHEDULER,
}

EXCUSES: Mapping[FailureKind, set[Fault]] = {
    FailureKind.USER_ERROR: {Fault.USER_ERROR},
    FailureKind.OUT_OF_MEMORY: {Fault.OUT_OF_MEMORY},
    FailureKind.DISK_FULL: {Fault.DISK_FULL},
    # A bad one alone never is: there is another, unless it is full or was excluded.
    FailureKind.DISK_BAD: {Fault.DISK_FULL, Fault.BLOCK_CORRUPT},
    FailureKind.ROWS_LOST: {Fault.ROWS_LOST},
    FailureKind.INDETERMINATE: {Fault.UNSTABLE_STAGE},
    FailureKind.FETCH_FAILED: _UNREADABLE,
    FailureKind.POISON: _DEADLY,
    FailureKind.NO_EXECUTORS: _DEADLY | {Fault.STOP_EXECUTOR, Fault.DECOMMISSION, Fault.DISK_BAD},
    FailureKind.CANCELLED: {Fault.CANCEL_JOB},
}
"""Faults that make a failure of this kind an honest answer. What is not in here never is."""


@dataclasses.dataclass(frozen=True, slots=True)
class Faults:
    """The climate of one schedule."""

    rates: Mapping[Fault, float]
    delay_s: float
    """Messages take up to so long."""

    @classmethod
    def drawn(cls, dice: random.Random) -> Faults:
        rates: dict[Fault, float] = {}
        for fault in Fault:
            if dice.random() < _ENABLED:
                rates[fault] = dice.choice(_RATES_PER_S if fault in WEATHER else _CHANCES)
        if Fault.UNSTABLE_STAGE in rates:
            rates[Fault.UNSTABLE_STAGE] = 0.3
        return cls(rates, dice.choice((0.001, 0.02, 0.3)))

    @classmethod
    def chosen(cls, *faults: Fault) -> Faults:
        """A climate of a few faults that come often."""
        often = {Fault.UNSTABLE_STAGE: 0.5}
        rates = {f: often.get(f, 1.0 if f in WEATHER else 0.1) for f in faults}
        return cls(rates, 0.2)

    def rate(self, fault: Fault) -> float:
        return self.rates.get(fault, 0.0)

    def excuse(self, kind: FailureKind) -> bool:
        """Whether a job may end with this kind of failure in this climate."""
        return not EXCUSES.get(kind, set()).isdisjoint(self.rates)

    def excuse_lost_session(self) -> bool:
        """Whether a driver may lose its session, and its jobs with it, in this climate."""
        return not _LOSES_SESSIONS.isdisjoint(self.rates)
