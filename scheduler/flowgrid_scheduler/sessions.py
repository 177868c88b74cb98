"""The drivers that are connected: what they sent, when they were last heard, which jobs are theirs."""

from __future__ import annotations

from flowgrid.config import Config
from flowgrid.ids import DriverId, JobId
from flowgrid_scheduler.executors import Departed


class Session:
    """One driver's connection."""

    def __init__(
        self,
        id_: str,
        name: str,
        config: Config,
        awake_s: float,
        number: int,
        driver: DriverId | None = None,
    ) -> None:
        self.id = id_
        self.number = number
        """Counts sessions: its key in the log."""
        self.name = name
        self.config = config
        self.driver = driver
        """If the cluster itself runs it."""
        self.run = ""
        """What it and the drivers that it goes on from have done together; "" without a resume name."""
        self.received = 0
        self.heard_s = awake_s
        self.away = False
        """Known from the log only: after our start its driver has not spoken yet."""
        self.resuming = False
        """The driver sends again what the log does not have; until that is here, what comes after
        it is dropped."""
        self.lost_s: float | None = None
        """Since when its driver is lost, if its jobs are kept for the next run."""
        self.requests: dict[int, JobId] = {}
        """Jobs by the driver's own request number: a submission that comes twice is one job."""

    def silent(self, awake_s: float) -> bool:
        """Whether its lease has run out."""
        return awake_s - self.heard_s > self.config.scheduler_driver_lease_s

    def goes_on_from(self, other: Session) -> bool:
        """Whether this is a later run of the other's program, with the same settings."""
        named = (
            self.config.resume_name != "" and self.config.resume_name == other.config.resume_name
        )
        return named and _settings(self.config) == _settings(other.config)

    def fingerprint(self) -> list[object]:
        requests = [[request, job.number] for request, job in self.requests.items()]
        conf = sorted(self.config.to_conf().items())
        numbers = [self.number, self.received, self.heard_s, self.away, self.resuming]
        return [
            self.id,
            self.name,
            str(self.driver),
            self.run,
            [*numbers, self.lost_s],
            requests,
            conf,
        ]


def _settings(config: Config) -> dict[str, str]:
    """All settings that may change what is done."""
    return {name: value for name, value in config.to_conf().items() if name[:7] != "resume."}


class Sessions:
    """All sessions, by id."""

    def __init__(self) -> None:
        self.open: dict[str, Session] = {}
        self.lost: dict[str, Session] = {}
        """Those whose drivers died and whose jobs are kept for the next run of the same program."""
        self.numbered: dict[int, Session] = {}
        """Open and lost."""
        self.departed: Departed[str] = Departed()

    def add(self, session: Session) -> None:
        self.open[session.id] = self.numbered[session.number] = session

    def lose(self, session: Session, awake_s: float) -> None:
        """Its driver is gone, and its jobs stay."""
        self.open.pop(session.id, None)
        self.departed.add(session.id)
        session.lost_s, session.away = awake_s, False
        self.lost[session.id] = self.numbered[session.number] = session

    def named(self, id_: str) -> Session:
        """Open or lost."""
        return self.open.get(id_) or self.lost[id_]

    def last_run(self, name: str) -> str:
        """What the last driver of this resume name was part of, or "". One that has just been killed may
        not be lost yet."""
        named = [one for one in self.numbered.values() if one.config.resume_name == name]
        return max(named, key=lambda one: one.number).run if named else ""

    def has_successor(self, session: Session) -> bool:
        """Whether a later session goes on with the same run."""
        later = (one for one in self.numbered.values() if one.number > session.number)
        return any(one.run == session.run for one in later)

    @property
    def next_number(self) -> int:
        """For a new session."""
        return max(self.numbered, default=0) + 1

    def remove(self, session: Session) -> None:
        self.open.pop(session.id, None)
        self.lost.pop(session.id, None)
        del self.numbered[session.number]
        self.departed.add(session.id)

    def received(self, id_: str) -> int:
        """Envelopes of a session that were handled; 0 for one that is not open."""
        session = self.open.get(id_)
        return session.received if session is not None else 0

    def fingerprint(self) -> list[object]:
        return [
            [session.fingerprint() for session in self.numbered.values()],
            list(self.departed),
        ]
