"""Pure: what an executor has to say to the scheduler, and when it is time to say it.

An envelope costs both sides as much as some ten attempts that do nothing. So while a backlog keeps the
slots busy, the ends of short attempts wait a moment for each other, and a start waits for its end: an
attempt that has both in one envelope is only said to have succeeded. Nobody waits for a word that waits
here: with an empty backlog, or when anything goes wrong, everything is said at once. So is the start of
a task that was tried before: if it brings this executor down, too, the scheduler must know who did.
"""

from __future__ import annotations

import math

from flowgrid.ids import AttemptId
from flowgrid.protocol.messages import AttemptStarted, AttemptSucceeded, FromExecutor

ENDS_WAIT_S = 0.002
"""For other ends, while there is a backlog: the scheduler has nothing to do for us before."""

STARTS_WAIT_S = 0.005
"""For their ends: only people and the search for stragglers look at starts."""

WORDS_MAX = 500
"""More would hold up what others have to say to the scheduler."""


class Outbox:
    """Words that have not left; those of starts leave before the others."""

    def __init__(self) -> None:
        self._words: list[FromExecutor] = []
        self._started: dict[AttemptId, AttemptStarted] = {}
        self._ends_due = self._starts_due = math.inf

    def add(self, word: FromExecutor, now: float) -> None:
        match word:
            case AttemptStarted():
                self._started[word.attempt] = word
                wait_s = 0.0 if word.attempt.number else STARTS_WAIT_S
                self._starts_due = min(self._starts_due, now + wait_s)
                return
            case AttemptSucceeded():
                self._started.pop(word.attempt, None)
                self._ends_due = min(self._ends_due, now + ENDS_WAIT_S)
            case _:
                self._ends_due = -math.inf
        self._words.append(word)

    def due(self, backlog: bool) -> float:
        """When all of it must leave; infinite if there is nothing to say."""
        if self._words and (not backlog or len(self._words) >= WORDS_MAX):
            return -math.inf
        return min(self._ends_due, self._starts_due if self._started else math.inf)

    def take(self) -> list[FromExecutor]:
        """Everything, and it is gone from here."""
        words = [*self._started.values(), *self._words]
        self._words, self._started = [], {}
        self._ends_due = self._starts_due = math.inf
        return words
