"""Pure: the envelopes of one session, counted in both directions, across schedulers that die.

The scheduler says with every envelope how many of ours even its death cannot undo; the others are kept
here. When its successor asks for them, they are sent again under their old numbers, so that every word
has its effect exactly once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from flowgrid.protocol.codec import driver_envelopes
from flowgrid.protocol.messages import (
    DriverEnvelope,
    FromDriver,
    SayAgain,
    ToDriver,
    ToDriverEnvelope,
)


class EnvelopeLostError(Exception):
    """Something that the scheduler sent never came."""


class SessionForgottenError(Exception):
    """The scheduler does not know this session, although one before it did."""


class Opened(NamedTuple):
    """What an envelope brings: words for us, and envelopes that must be sent again."""

    messages: Sequence[ToDriver]
    again: Sequence[bytes] = ()


class SessionLink:
    """One driver's side."""

    def __init__(self, session: str) -> None:
        self.session = session
        self._epoch: int | None = None
        self._link = 0
        self._past: set[int] = set()
        self._asked_by: int | None = None
        self._said_until = 0
        """What had been sent when we last answered: questions about less crossed with that answer."""
        self._sent = 0
        self._received = 0
        self._kept: deque[tuple[int, bytes]] = deque()
        """Numbers and bytes of the envelopes that may not be in the scheduler's log yet."""

    @property
    def greeted(self) -> bool:
        """Whether a scheduler has ever spoken to us."""
        return self._epoch is not None

    def seal(self, messages: Sequence[FromDriver]) -> bytes:
        """The next envelope."""
        payload = driver_envelopes.encode(DriverEnvelope(self.session, self._sent, tuple(messages)))
        self._kept.append((self._sent, payload))
        self._sent += 1
        return payload

    def open(self, envelope: ToDriverEnvelope) -> Opened:
        """Take an envelope. Raises `EnvelopeLostError` or `SessionForgottenError`."""
        if envelope.epoch in self._past:
            return Opened(())  # the last words of a scheduler that is dead
        if self._epoch not in (None, envelope.epoch):
            assert self._epoch is not None
            self._past.add(self._epoch)
            self._link = self._received = 0
        self._epoch = envelope.epoch
        if envelope.link > self._link:
            # It had given our connection up. What it said over it about a session is void: that
            # session ended with it, and what it says from here on is of one that it did not know.
            self._link, self._received = envelope.link, 0
        if envelope.link < self._link or envelope.sequence < self._received:
            return Opened(())
        if envelope.sequence > self._received:
            raise EnvelopeLostError(f"number {self._received}")
        self._received += 1
        while self._kept and self._kept[0][0] < envelope.received:
            self._kept.popleft()
        questions = [word for word in envelope.messages if isinstance(word, SayAgain)]
        words = [word for word in envelope.messages if not isinstance(word, SayAgain)]
        # One answer is enough, however many of ours made it ask, unless the answer itself was lost.
        if self._asked_by == envelope.epoch:
            questions = [word for word in questions if word.heard >= self._said_until]
        if not questions:
            return Opened(words)
        self._asked_by, self._said_until = envelope.epoch, self._sent
        # Between the question and its departure more may have come.
        return Opened(words, self._from(max(questions[0].received, envelope.received)))

    def _from(self, number: int) -> Sequence[bytes]:
        """Everything from that envelope on, unless we have forgotten it."""
        if number < self._sent - len(self._kept):
            raise SessionForgottenError
        return [payload for sent, payload in self._kept if sent >= number]
