"""What becomes of a driver's session and jobs when it has gone, or counts as gone."""

from __future__ import annotations

from flowgrid.protocol.messages import SessionRefused
from flowgrid_scheduler import kept_jobs
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.sessions import Session


def driver_lost(state: ClusterState, session: Session) -> None:
    """The driver is gone without a word: the next run of its program may want its jobs."""
    if session.config.resume_name:
        kept_jobs.keep_all(state, session)
        _forget_verdicts(state, session)
    else:
        end_session(state, session)


def end_session(state: ClusterState, session: Session) -> None:
    """The driver is gone: so are its jobs."""
    kept_jobs.forget(state, session)
    _forget_verdicts(state, session)


def lose_session(state: ClusterState, session: Session, reason: str) -> None:
    """End a session whose driver may still be there, and tell it."""
    driver_lost(state, session)
    state.out.to_driver(session.id, SessionRefused(reason))


def check_leases(state: ClusterState) -> None:
    """Find drivers that are silent."""
    for session in list(state.sessions.open.values()):
        if session.silent(state.clock.awake_s):
            lease_s = session.config.scheduler_driver_lease_s
            lose_session(state, session, f"the driver was silent for more than {lease_s:g} s")


def _forget_verdicts(state: ClusterState, session: Session) -> None:
    for number, record in list(state.verdicts.items()):
        if record.session == session.id:
            state.forget_verdict(number)
