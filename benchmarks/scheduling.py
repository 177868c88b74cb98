"""`python -m benchmarks.scheduling`: task life cycles per second through the scheduler's core alone.

Executors that need no time answer every launch at once: submitted, launched, started, succeeded. No
sockets, no codec; one core of one machine.
"""

from __future__ import annotations

import time

from flowgrid_scheduler.actions import Action, SendToExecutor
from flowgrid_scheduler.cluster import ClusterIdentity
from flowgrid_scheduler.core import SchedulerCore

from flowgrid.config import Config
from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.protocol.job_graph import ExecutorAddress, OutputKind, StageSpec
from flowgrid.protocol.messages import (
    AttemptStarted,
    AttemptSucceeded,
    DriverEnvelope,
    ExecutorEnvelope,
    FromExecutor,
    LaunchAttempts,
    OpenSession,
    RegisterExecutor,
    SubmitJob,
    Versions,
)
from flowgrid.protocol.reports import AttemptReport

VERSIONS = Versions(1, "", "", "", "")
REPORT = AttemptReport((), (1,), (8,), (7,))


def tasks_per_second(tasks: int, executors: int, slots: int) -> float:
    """One stage of so many tasks over so many executors."""
    core = SchedulerCore(Config(), ClusterIdentity(1, VERSIONS))
    sent: dict[ExecutorId, int] = {}
    for number in range(executors):
        id_ = ExecutorId(f"executor-{number}", number)
        address = ExecutorAddress(id_, "host", "/blocks", "tcp://127.0.0.1:1")
        register = RegisterExecutor(address, slots, 1 << 30, VERSIONS)
        core.handle(ExecutorEnvelope(id_, 0, (register,)), 0.0)
        sent[id_] = 1
    core.handle(DriverEnvelope("driver", 0, (OpenSession("driver", "", VERSIONS),)), 0.0)
    stage = StageSpec(0, "no-op", tasks, OutputKind.BLOCKS)

    started_at = time.perf_counter()
    actions = core.handle(DriverEnvelope("driver", 1, (SubmitJob(0, "", (stage,), True),)), 0.0)
    done = 0
    while done < tasks:
        launched = _launched(actions)
        actions = []
        for id_, attempts in launched.items():
            words: list[FromExecutor] = []
            for attempt in attempts:
                words += (AttemptStarted(attempt), AttemptSucceeded(attempt, REPORT))
            done += len(attempts)
            now = time.perf_counter() - started_at
            actions += core.handle(ExecutorEnvelope(id_, sent[id_], tuple(words)), now)
            sent[id_] += 1
    return tasks / (time.perf_counter() - started_at)


def _launched(actions: list[Action]) -> dict[ExecutorId, list[AttemptId]]:
    launched: dict[ExecutorId, list[AttemptId]] = {}
    for action in actions:
        if isinstance(action, SendToExecutor) and isinstance(action.message, LaunchAttempts):
            launched.setdefault(action.executor, []).extend(action.message.attempts)
    return launched


if __name__ == "__main__":
    for tasks, executors, slots in ((20_000, 1, 1), (20_000, 4, 2), (100_000, 4, 16)):
        rate = tasks_per_second(tasks, executors, slots)
        print(f"{tasks:>7,} tasks, {executors} executors × {slots:>2} slots: {rate:>9,.0f} tasks/s")
