"""What must always hold for submitted programs, checked after every event in tests."""

from __future__ import annotations

from flowgrid.protocol.programs import ProgramState
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.program_drivers import DRIVERS_PER_EXECUTOR_MAX


def check_programs(state: ClusterState) -> None:
    """A driver runs where somebody is, and waits where nobody can; nobody listens to others."""
    alive = {executor.index for executor in state.executors.alive.values()}
    for program in state.programs.known.values():
        assert (program.spec is None) == program.state.final, program.id
        waits = program.state is ProgramState.WAITING
        assert waits == (program.id.number in state.programs.waiting), program.id
        assert program.state is not ProgramState.RUNNING or program.executor in alive, program.id
    for executor in state.executors.taking() if state.programs.waiting else ():
        full = len(state.programs.on(executor.index)) >= DRIVERS_PER_EXECUTOR_MAX
        assert full, f"a program waits that {executor.id} could run"
    for session in state.sessions.open.values():
        if session.driver is not None:
            assert state.programs.of(session.driver) is not None, f"{session.driver} is heard"
