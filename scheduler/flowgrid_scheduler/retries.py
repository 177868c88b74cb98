"""Pure: what a failure is worth. One row per `FailureKind`, and one function that reads the table."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec

from flowgrid.config import Config
from flowgrid.protocol.failures import FailureKind

FETCH_FAILURES_MAX = 4
"""Failed fetches of one block by one task, with no partition completed in between, or of one block of a
job's result by its driver. Each of them is the producer's fault and was answered by a recompute; a block
that is still unreadable after so many is in a place that this reader cannot reach, and trying for ever
would be a hang."""


class Budget(enum.Enum):
    """What a failure is counted against, per task."""

    ATTEMPTS = "attempts"
    USER_CODE = "user_code"
    DEATHS = "deaths"
    FREE = "free"
    """Not the task's fault: never counted."""
    NONE = "none"
    """The same input gives the same failure: no other attempt."""

    def limit(self, config: Config) -> int:
        """How many failures end the job."""
        match self:
            case Budget.ATTEMPTS:
                return config.task_attempts_max
            case Budget.USER_CODE:
                return config.task_user_attempts_max
            case Budget.DEATHS:
                return config.task_process_deaths_max
            case Budget.NONE:
                return 1
            case Budget.FREE:
                raise ValueError("what is not counted has no limit")


class Rule(msgspec.Struct, frozen=True):
    """`elsewhere`: the next attempt prefers another executor, because this one may be the reason."""

    budget: Budget
    elsewhere: bool = False


RULES: Mapping[FailureKind, Rule] = {
    FailureKind.USER_ERROR: Rule(Budget.USER_CODE),
    FailureKind.QUERY_ERROR: Rule(Budget.NONE),
    FailureKind.FETCH_FAILED: Rule(Budget.FREE),
    FailureKind.PROCESS_DIED: Rule(Budget.DEATHS, elsewhere=True),
    # Its executor has run it twice, the second time with nothing beside it.
    FailureKind.OUT_OF_MEMORY: Rule(Budget.NONE),
    FailureKind.DISK_FULL: Rule(Budget.ATTEMPTS, elsewhere=True),
    FailureKind.DISK_BAD: Rule(Budget.ATTEMPTS, elsewhere=True),
    FailureKind.EXECUTOR_LOST: Rule(Budget.DEATHS),
    FailureKind.INPUT_MISSING: Rule(Budget.NONE),
    FailureKind.INPUT_CHANGED: Rule(Budget.NONE),
    FailureKind.INPUT_INVALID: Rule(Budget.NONE),
    FailureKind.ROWS_LOST: Rule(Budget.ATTEMPTS, elsewhere=True),
    FailureKind.INDETERMINATE: Rule(Budget.NONE),
    FailureKind.POISON: Rule(Budget.NONE),
    FailureKind.NO_EXECUTORS: Rule(Budget.NONE),
    FailureKind.CANCELLED: Rule(Budget.FREE),
    FailureKind.DRIVER_LOST: Rule(Budget.NONE),
    FailureKind.INTERNAL: Rule(Budget.ATTEMPTS, elsewhere=True),
}


class Verdict(enum.Enum):
    RETRY = "retry"
    RETRY_ELSEWHERE = "retry_elsewhere"
    FAIL = "fail"
    POISON = "poison"


class Tally:
    """The counted failures of one task."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[Budget, int] = {}

    def judge(self, kind: FailureKind, config: Config) -> Verdict:
        """Count one more failure of this kind and say what follows from it."""
        rule = RULES[kind]
        if rule.budget is not Budget.FREE:
            count = self.counts[rule.budget] = self.counts.get(rule.budget, 0) + 1
            if count >= rule.budget.limit(config):
                return Verdict.POISON if rule.budget is Budget.DEATHS else Verdict.FAIL
        return Verdict.RETRY_ELSEWHERE if rule.elsewhere else Verdict.RETRY
