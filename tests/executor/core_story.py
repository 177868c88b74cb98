"""An executor core with a story: one job, one stage, two slots, and a clock that stands still."""

from __future__ import annotations

from flowgrid_executor.core import ExecutorCore
from flowgrid_executor.events import (
    Action,
    Event,
    RunInSlot,
    SlotAnswered,
)
from flowgrid_executor.executor_setup import ExecutorSetup
from flowgrid_executor.slot_protocol import (
    AttemptDone,
    RunAttempt,
    SlotForked,
)

from flowgrid.ids import AttemptId, ExecutorId, StageId
from flowgrid.protocol.job_graph import (
    ExecutorAddress,
    OutputKind,
    StageInput,
    StageOutputs,
    StageSpec,
)
from flowgrid.protocol.messages import DescribeStage, ExecutorRegistered, LaunchAttempts
from flowgrid.protocol.reports import AttemptReport

LEASE_S = 8.0
SETUP = ExecutorSetup(
    slot_count=2,
    threads_per_slot=1,
    memory_bytes=1 << 30,
    directory="/blocks",
    host="here",
    settings={"kernel.batch_rows": "10"},
    keys_directory="",
    lease_s=LEASE_S,
)
REPORT = AttemptReport(rows_read=(), rows=(3,))


class Story:
    """A core, a clock that only the story moves, and one job with one stage."""

    def __init__(self, slots_ready: int = 2, tasks: tuple[bytes, ...] = ()) -> None:
        self.now = 0.0
        self.core = ExecutorCore(SETUP, self.now)
        self.core.start()
        self.happens(ExecutorRegistered(7, "tcp://beats"))
        self.happens(DescribeStage(StageId(1, 0), stage(tasks=tasks)))
        for slot in range(slots_ready):
            self.happens(SlotForked(slot, 100 + slot))

    def happens(self, event: Event, after_s: float = 0.0) -> list[Action]:
        self.now += after_s
        return self.core.handle(event, self.now)

    def launches(self, *partitions: int) -> list[Action]:
        return self.happens(LaunchAttempts(tuple(map(attempt, partitions))))

    def answers(self, slot: int, partition: int) -> list[Action]:
        return self.happens(SlotAnswered(slot, AttemptDone(attempt(partition), REPORT)))


def attempt(partition: int, number: int = 0, job: int = 1) -> AttemptId:
    return AttemptId(job, 0, partition, number)


def stage(
    tasks: tuple[bytes, ...] = (), inputs: tuple[StageInput, ...] = (), payload: bytes = b"plan"
) -> StageSpec:
    return StageSpec(0, "scan", 100, OutputKind.BLOCKS, 4, inputs, payload, tasks)


def outputs(holder: str) -> StageOutputs:
    address = ExecutorAddress(ExecutorId(holder, 1), "there", "/d", "tcp://x")
    return StageOutputs(0, (address,), (0,), (0,))


def runs(actions: list[Action]) -> list[tuple[int, AttemptId]]:
    return [(a.slot, a.request.attempt) for a in actions if isinstance(a, RunInSlot)]


def request(actions: list[Action]) -> RunAttempt:
    (run,) = (action for action in actions if isinstance(action, RunInSlot))
    return run.request
