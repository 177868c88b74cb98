"""Remembers everything that a scheduler heard and said, and complains of what must never be.

The invariants of `flowgrid_scheduler` look at a state; these look at a history.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from flowgrid_scheduler.actions import Action, SendToExecutor
from flowgrid_scheduler.core import SchedulerCore
from flowgrid_scheduler.departures import TRIES_MAX
from flowgrid_scheduler.events import Event
from flowgrid_scheduler.exclusion import OUT_OF_REACH
from flowgrid_scheduler.jobs import JobState
from flowgrid_scheduler.snapshots import ATTEMPTS_PER_LIFE

from flowgrid.ids import AttemptId, ExecutorId, TaskId
from flowgrid.protocol.departures import BlocksCopied, CopyBlocks, CopyFailed
from flowgrid.protocol.failures import Failure
from flowgrid.protocol.messages import (
    AttemptCancelled,
    AttemptFailed,
    AttemptSucceeded,
    CancelAttempts,
    DriverEnvelope,
    DropAttempts,
    ExecutorEnvelope,
    Fence,
    FromExecutor,
    JobSucceeded,
    LaunchAttempts,
    RegisterExecutor,
    ReportFetchFailed,
    StopExecutor,
)
from flowgrid.protocol.reports import AttemptReport, HeldAttempt

ATTEMPTS_PER_TASK_MAX = 100
"""A task that is tried more often is tried for ever."""

WANTED_MAX = 2
"""Attempts of a task that are under way and that nobody has asked to stop: one and its rival."""


class Witness:
    """Of all schedulers that follow each other on one log. What no log has, nobody has said."""

    def __init__(self) -> None:
        self._core: SchedulerCore
        self._lost: set[ExecutorId] = set()
        self._expected: dict[ExecutorId, int] = {}
        self._reported: set[AttemptId] = set()
        self._answered: set[tuple[ExecutorId, int]] = set()
        self._winners: dict[TaskId, AttemptId] = {}
        self._unreadable: set[AttemptId] = set()
        self._wanted: dict[TaskId, set[AttemptId]] = {}
        self._reports: dict[AttemptId, AttemptReport] = {}
        self._places: dict[AttemptId, ExecutorId] = {}
        """Where blocks are that were moved."""
        self._copying: dict[tuple[AttemptId, ExecutorId], ExecutorId] = {}
        self._asked: set[tuple[AttemptId, ExecutorId]] = set()
        self._copied: set[tuple[AttemptId, ExecutorId]] = set()
        self._copies_failed: Counter[AttemptId] = Counter()
        self._beside: dict[AttemptId, set[AttemptId]] = {}
        self.rivals = 0
        self.launched_on: dict[AttemptId, ExecutorId] = {}

    def follow(self, core: SchedulerCore) -> None:
        """The next scheduler begins. Its predecessor's attempts may go on, or be run again."""
        self._core = core
        self._expected.clear()
        self._wanted.clear()
        self._copying.clear()
        self._copied.clear()

    def heard(self, event: Event) -> None:
        """After the core has handled it."""
        match event:
            case ExecutorEnvelope():
                counts = self._counts(event)
                for word in event.messages:
                    if counts or not isinstance(word, BlocksCopied):
                        self._heard_executor(event.executor, word)
            case DriverEnvelope():
                for request in event.messages:
                    if isinstance(request, ReportFetchFailed):
                        self._cannot_be_read(request.job.number, request.failure)
            case _:
                pass  # says nothing about attempts

    def _counts(self, envelope: ExecutorEnvelope) -> bool:
        """Whether it is the next of its sender: after a gap nothing counts any more."""
        expected = self._expected.get(envelope.executor, 0)
        if envelope.sequence != expected:
            return False
        self._expected[envelope.executor] = expected + 1
        return True

    def _heard_executor(self, executor: ExecutorId, word: FromExecutor) -> None:
        match word:
            case AttemptSucceeded() | AttemptFailed() | AttemptCancelled():
                attempt = word.attempt
            case RegisterExecutor() if word.epoch == self._core.state.identity.epoch:
                self._answers_roll_call(executor, word.epoch, word.held)
                return
            case BlocksCopied():
                # Who is lost is not heard, whatever it had on its way. The core's own list of the
                # living will not do: it is ahead, at the end of the turn that these words are of.
                if executor not in self._lost and (word.attempt, executor) in self._copying:
                    self._places[word.attempt] = executor
                    self._copied.add((word.attempt, self._copying[word.attempt, executor]))
                return
            case CopyFailed():
                self._copies_failed[word.attempt] += 1
                return
            case _:
                return
        if self.launched_on.get(attempt) != executor or executor in self._lost:
            return  # of another scheduler's time, or of somebody who is not heard any more
        self._stopped(attempt)
        if isinstance(word, AttemptFailed):
            self._cannot_be_read(attempt.job, word.failure)
        elif isinstance(word, AttemptSucceeded):
            self._has_reported(attempt, word.report)

    def _has_reported(self, attempt: AttemptId, report: AttemptReport) -> None:
        self._reported.add(attempt)
        self._reports[attempt] = report
        self._check_rival(attempt, report)
        if self._is_winner(attempt):
            self._winners[attempt.task] = attempt

    def _answers_roll_call(
        self, executor: ExecutorId, epoch: int, held: Sequence[HeldAttempt]
    ) -> None:
        """What was done while nobody listened counts, and what is not claimed is not there."""
        finished = {claim.attempt: claim.report for claim in held if claim.report is not None}
        for attempt, report in finished.items():
            self._has_reported(attempt, report)
        if (executor, epoch) not in self._answered:
            self._answered.add((executor, epoch))
            self._check_holdings(executor, finished)
        for attempt in self._reported - finished.keys():
            if self._places.get(attempt, self.launched_on.get(attempt)) == executor:
                self._unreadable.add(attempt)

    def _check_holdings(self, executor: ExecutorId, finished: Collection[AttemptId]) -> None:
        """Readers are sent to nobody who does not say that it has what they need."""
        known = self._core.state.executors.alive.get(executor)
        if known is None:
            return
        for job in self._core.state.jobs.values():
            for stage in job.stages:
                for partition in stage.held_by(known.index):
                    winner = stage.attempt_of(partition, stage.blocks.attempts[partition])
                    is_there = winner in finished or winner not in self._reported
                    assert is_there, f"{executor} does not have {winner}"

    def _cannot_be_read(self, job: int, failure: Failure) -> None:
        """Of a holder that is out of reach, the job may give up everything."""
        fetch = failure.fetch
        if fetch is None or self._places.get(fetch.producer, fetch.holder) != fetch.holder:
            return
        self._unreadable.add(fetch.producer)
        if fetch.cause in OUT_OF_REACH:
            self._unreadable |= {
                winner
                for task, winner in self._winners.items()
                if task.job == job
                and self._places.get(winner, self.launched_on[winner]) == fetch.holder
            }

    def _is_winner(self, attempt: AttemptId) -> bool:
        job = self._core.state.job_of(attempt)
        stage = job.stage_of(attempt) if job is not None else None
        return stage is not None and stage.blocks.attempts[attempt.partition] == attempt.number

    def _stopped(self, attempt: AttemptId) -> None:
        self._wanted.get(attempt.task, set()).discard(attempt)

    # -- what the scheduler says ---------------------------------------------------------------

    def saw(self, actions: list[Action]) -> None:
        """Nobody who is lost is asked for anything, and every launch has a reason."""
        for action in actions:
            message = action.message
            if isinstance(action, SendToExecutor):
                if isinstance(message, Fence):
                    self._lost.add(action.executor)
                assert isinstance(message, Fence) or action.executor not in self._lost, (
                    f"{action.executor} is lost, and is asked for {message}"
                )
            if isinstance(message, LaunchAttempts) and isinstance(action, SendToExecutor):
                there = self._core.state.executors.alive.get(action.executor)
                assert there is None or there.departure is None, "it leaves, and is given work"
                for attempt in message.attempts:
                    self._check_launch(attempt, action.executor)
                    self.launched_on[attempt] = action.executor
            elif isinstance(message, CopyBlocks) and isinstance(action, SendToExecutor):
                for attempt in message.attempts:
                    self._check_copy(attempt, message.source.executor, action.executor)
            elif isinstance(message, DropAttempts) and isinstance(action, SendToExecutor):
                for attempt in message.attempts:
                    if self._places.get(attempt) == action.executor:
                        del self._places[attempt]
                        source = self._copying.get((attempt, action.executor))
                        self._copied -= {(attempt, source)} if source is not None else set()
            elif isinstance(message, StopExecutor) and isinstance(action, SendToExecutor):
                self._check_departure(action.executor)
            elif isinstance(message, CancelAttempts):
                for attempt in message.attempts:
                    self._stopped(attempt)
            elif isinstance(message, JobSucceeded):
                self._check_winners(message)

    def _check_rival(self, attempt: AttemptId, report: AttemptReport) -> None:
        """Who ran beside the winner and finished as well wrote the same rows, or the job is over."""
        state = self._core.state
        job = state.jobs.get(attempt.job)
        if job is None or job.state is not JobState.RUNNING or self._is_winner(attempt):
            return
        stage = job.stages[attempt.stage]
        number = stage.blocks.attempts[attempt.partition]
        winner = stage.attempt_of(attempt.partition, number)
        beside = self._beside.get(attempt, set()) | self._beside.get(winner, set())
        known = self._reports.get(winner)
        if (
            known is not None
            and {attempt, winner} <= beside
            and known.rows_read == report.rows_read
        ):
            assert known.digest == report.digest, f"{attempt} and {winner} differ, and nobody minds"

    def _check_launch(self, attempt: AttemptId, executor: ExecutorId) -> None:
        """Never twice, never without end, never one too many, and again only what is lost."""
        assert attempt not in self.launched_on, f"{attempt} is launched twice"
        tried = attempt.number % ATTEMPTS_PER_LIFE
        assert tried < ATTEMPTS_PER_TASK_MAX, f"{attempt}: no end of attempts"
        alive = self._core.state.executors.alive
        wanted = {a for a in self._wanted.get(attempt.task, ()) if self.launched_on[a] in alive}
        assert len(wanted) < WANTED_MAX, f"{attempt} is launched beside {wanted}"
        if wanted:
            self._check_beside(attempt, wanted, executor)
        self._wanted[attempt.task] = wanted | {attempt}
        winner = self._winners.get(attempt.task)
        if winner is not None and winner not in self._unreadable:
            place = self._places.get(winner, self.launched_on[winner])
            assert place not in alive, f"{winner} is there: why {attempt}?"

    def _check_copy(self, attempt: AttemptId, source: ExecutorId, target: ExecutorId) -> None:
        """Never again what has arrived. Whoever was asked before is not believed any more."""
        assert (attempt, source) not in self._copied, f"{attempt} is copied again"
        before = [
            key for key in self._copying if key[0] == attempt and self._copying[key] == source
        ]
        for key in before:
            del self._copying[key]
        self._copying[attempt, target] = source
        self._asked.add((attempt, target))

    def _check_departure(self, executor: ExecutorId) -> None:
        """Who was asked to leave takes nothing along that others could have fetched."""
        state = self._core.state
        leaving = state.executors.alive.get(executor)
        if leaving is None:
            return  # lost in the same turn
        index = leaving.index
        for job in state.jobs.values():
            for stage in job.stages:
                for partition in stage.held_by(index):
                    attempt = stage.attempt_of(partition, stage.blocks.attempts[partition])
                    failed = self._copies_failed[attempt]
                    assert failed >= TRIES_MAX, f"{executor} is asked to go with {attempt}"

    def _check_beside(
        self, attempt: AttemptId, wanted: set[AttemptId], executor: ExecutorId
    ) -> None:
        """A rival runs elsewhere, and does what can be done twice."""
        self.rivals += 1
        job = self._core.state.jobs.get(attempt.job)
        if job is None:
            return  # ended in the same turn
        spec = job.stages[attempt.stage].spec
        assert spec.deterministic, f"{attempt} and {wanted} may write other rows"
        places = {self.launched_on[one] for one in wanted}
        assert executor not in places, f"{attempt} and {wanted} share an executor"
        for one in wanted:
            self._beside[one] = self._beside[attempt] = {one, attempt}

    def _check_winners(self, word: JobSucceeded) -> None:
        """Every winner is an attempt that ran where its blocks are said to be, and said so."""
        state = self._core.state
        job = state.jobs.get(word.job.number)
        for stage in job.stages if job is not None else ():
            if stage.spec.given is not None:
                continue
            for partition, number in enumerate(stage.blocks.attempts):
                if number < 0:
                    continue
                winner = AttemptId(word.job.number, stage.id.number, partition, number)
                holder = state.executors.address_of(stage.blocks.holders[partition]).executor
                told = (winner, holder) in self._asked or self.launched_on.get(winner) == holder
                assert told, f"{winner} won elsewhere, and is told to be on {holder}"
                assert winner in self._reported, f"{winner} won and never succeeded"
