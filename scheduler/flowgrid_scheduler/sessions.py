"""The drivers that are connected: what they sent, when they were last heard, which jobs are theirs."""

from __future__ import annotations

from flowgrid.config import Config
from flowgrid.ids import JobId
from flowgrid_scheduler.executors import Departed


class Session:
    """One driver's connection."""

    def __init__(self, id_: str, name: str, config: Config, awake_s: float) -> None:
        self.id = id_
        self.name = name
        self.config = config
        self.received = 0
        self.heard_s = awake_s
        self.requests: dict[int, JobId] = {}
        """Jobs by the driver's own request number: a submission that comes twice is one job."""

    def silent(self, awake_s: float) -> bool:
        """Whether its lease has run out."""
        return awake_s - self.heard_s > self.config.scheduler_driver_lease_s

    def fingerprint(self) -> list[object]:
        requests = [[request, job.number] for request, job in self.requests.items()]
        conf = sorted(self.config.to_conf().items())
        return [self.id, self.name, self.received, self.heard_s, requests, conf]


class Sessions:
    """All sessions, by id."""

    def __init__(self) -> None:
        self.open: dict[str, Session] = {}
        self.departed: Departed[str] = Departed()

    def add(self, session: Session) -> None:
        self.open[session.id] = session

    def remove(self, session: Session) -> None:
        del self.open[session.id]
        self.departed.add(session.id)

    def fingerprint(self) -> list[object]:
        return [[session.fingerprint() for session in self.open.values()], list(self.departed)]
