"""The drivers that are connected: what they sent, when they were last heard, which jobs are theirs."""

from __future__ import annotations

from flowgrid.config import Config
from flowgrid.ids import JobId
from flowgrid_scheduler.executors import Departed


class Session:
    """One driver's connection."""

    def __init__(self, id_: str, name: str, config: Config, awake_s: float, number: int) -> None:
        self.id = id_
        self.number = number
        """Counts sessions: its key in the log."""
        self.name = name
        self.config = config
        self.received = 0
        self.heard_s = awake_s
        self.away = False
        """Known from the log only: after our start its driver has not spoken yet."""
        self.resuming = False
        """The driver sends again what the log does not have; until that is here, what comes after
        it is dropped."""
        self.requests: dict[int, JobId] = {}
        """Jobs by the driver's own request number: a submission that comes twice is one job."""

    def silent(self, awake_s: float) -> bool:
        """Whether its lease has run out."""
        return awake_s - self.heard_s > self.config.scheduler_driver_lease_s

    def fingerprint(self) -> list[object]:
        requests = [[request, job.number] for request, job in self.requests.items()]
        conf = sorted(self.config.to_conf().items())
        numbers = [self.number, self.received, self.heard_s, self.away, self.resuming]
        return [self.id, self.name, numbers, requests, conf]


class Sessions:
    """All sessions, by id."""

    def __init__(self) -> None:
        self.open: dict[str, Session] = {}
        self.numbered: dict[int, Session] = {}
        self.departed: Departed[str] = Departed()

    def add(self, session: Session) -> None:
        self.open[session.id] = self.numbered[session.number] = session

    @property
    def next_number(self) -> int:
        """For a new session."""
        return max(self.numbered, default=0) + 1

    def remove(self, session: Session) -> None:
        del self.open[session.id]
        del self.numbered[session.number]
        self.departed.add(session.id)

    def received(self, id_: str) -> int:
        """Envelopes of a session that were handled; 0 for one that is not open."""
        session = self.open.get(id_)
        return session.received if session is not None else 0

    def fingerprint(self) -> list[object]:
        return [[session.fingerprint() for session in self.open.values()], list(self.departed)]
