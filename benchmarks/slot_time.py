"""What the slots of a cluster did during one job, from the scheduler's record of events.

All figures are slot-seconds: one second of one slot. A succeeded attempt took what its slot measured;
any other from its start to its last word, or to its executor's loss, as the scheduler heard of them.
"""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from flowgrid_scheduler.events import Event, ExecutorUnreachable

from flowgrid.ids import AttemptId
from flowgrid.protocol.job_graph import StageSpec
from flowgrid.protocol.messages import (
    AddStages,
    AttemptCancelled,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    DriverEnvelope,
    ExecutorEnvelope,
    FromExecutor,
    SubmitJob,
)


@dataclass
class Success:
    attempt: AttemptId
    executor: str
    at_s: float
    run_s: float
    cpu_s: float


@dataclass
class JobRecord:
    """The last job of a record. `thrown_away_s` ran when its executor was lost; `failed_s` ran in vain
    elsewhere, by failure or cancellation."""

    submitted_s: float = 0.0
    lost_s: float | None = None
    stages: dict[int, StageSpec] = field(default_factory=dict)
    successes: list[Success] = field(default_factory=list)
    thrown_away_s: float = 0.0
    failed_s: float = 0.0
    _running: dict[AttemptId, tuple[str, float]] = field(default_factory=dict)

    def heard(self, now: float, executor: str, word: FromExecutor) -> None:
        match word:
            case AttemptStarted(attempt):
                self._running[attempt] = (executor, now)
            case AttemptSucceeded(attempt, report):
                self._running.pop(attempt, None)
                self.successes.append(Success(attempt, executor, now, report.run_s, report.cpu_s))
            case AttemptFailed(attempt) | AttemptCancelled(attempt):
                _, started_s = self._running.pop(attempt, (executor, now))
                self.failed_s += now - started_s

    def victim_lost(self, now: float, victim: str, killed_s: float) -> None:
        self.lost_s = now
        for attempt, (executor, started_s) in list(self._running.items()):
            if executor == victim:
                del self._running[attempt]
                self.thrown_away_s += max(0.0, min(now, killed_s) - started_s)

    @property
    def work_s(self) -> float:
        """All that slots ran, in vain or not."""
        return sum(one.run_s for one in self.successes) + self.thrown_away_s + self.failed_s

    @property
    def cpu_s(self) -> float:
        """Of attempts that succeeded."""
        return sum(one.cpu_s for one in self.successes)

    @property
    def ended_s(self) -> float:
        return self.successes[-1].at_s

    def needless(self, victim: str) -> int:
        """Successes of tasks that had succeeded elsewhere than on the victim."""
        kept = Counter(one.attempt.task for one in self.successes if one.executor != victim)
        return kept.total() - len(kept)

    def slot_time_s(self, slots_before: int, slots_after: int) -> float:
        """What was there to run on, busy or idle: so waiting costs, too."""
        lost_s = self.ended_s if self.lost_s is None else self.lost_s
        before_s, after_s = lost_s - self.submitted_s, self.ended_s - lost_s
        return slots_before * before_s + slots_after * after_s

    def lost_work_s(self, victim: str) -> float:
        return sum(one.run_s for one in self.lost_successes(victim))

    def lost_successes(self, victim: str) -> list[Success]:
        """What the victim had done and was needed once more: the stage was not complete, nobody is known
        to read it (it is the result, or the next stages are not planned yet), or a stage that reads
        it had tasks to run, or to run again. A stage that was read for the last time is no loss."""
        if self.lost_s is None:
            return []
        done: dict[int, dict[int, Success]] = {number: {} for number in self.stages}
        for one in self.successes:
            if one.at_s <= self.lost_s:
                done[one.attempt.stage][one.attempt.partition] = one
        lost: list[Success] = []
        to_run: set[int] = set()
        for number in sorted(self.stages, reverse=True):  # readers come before what they read
            spec = self.stages[number]
            readers = {
                reader
                for reader, other in self.stages.items()
                if number in {edge.stage for edge in other.inputs}
            }
            complete = len(done[number]) == spec.partition_count
            if not complete or not readers or readers & to_run:
                held = [one for one in done[number].values() if one.executor == victim]
                lost += held
                if held or not complete:
                    to_run.add(number)
        return lost


def read_job(
    events: Iterable[tuple[float, Event]], victim: str, killed_s: float = math.inf
) -> JobRecord:
    """The last job of these events; `victim` was killed at `killed_s` on their clock."""
    record = JobRecord()
    for now, event in events:
        match event:
            case DriverEnvelope():
                for asked in event.messages:
                    if isinstance(asked, SubmitJob):
                        record = JobRecord(now)
                    if isinstance(asked, SubmitJob | AddStages):
                        record.stages |= {spec.number: spec for spec in asked.stages}
            case ExecutorEnvelope():
                for word in event.messages:
                    record.heard(now, event.executor.name, word)
            case ExecutorUnreachable() if event.executor.name == victim:
                record.victim_lost(now, victim, killed_s)
    return record


@dataclass(frozen=True)
class Cost:
    """What a loss costs a job, in seconds of one kind: medians of runs with it and of runs without."""

    undisturbed_s: float
    disturbed_s: float
    lost_s: float

    @classmethod
    def of(
        cls, undisturbed: Sequence[float], disturbed: Sequence[float], lost: Sequence[float]
    ) -> Cost:
        return cls(*(statistics.median(seconds) for seconds in (undisturbed, disturbed, lost)))

    @property
    def cost_s(self) -> float:
        return self.disturbed_s - self.undisturbed_s

    @property
    def beyond_lost_percent(self) -> float:
        """What recovery cost beyond doing the lost work once more, of the undisturbed job."""
        return 100 * (self.cost_s - self.lost_s) / self.undisturbed_s
