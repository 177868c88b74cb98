"""What an executor decides, as a function of what happened.

Every change of state happens below `handle`. This module does not know about sockets, processes, files
or clocks: `server.py` turns frames into events and actions into deeds. Unknown and stale messages are
legal and change nothing.
"""

from __future__ import annotations

import signal
from collections import deque
from typing import assert_never

from flowgrid.ids import AttemptId, JobId, StageId
from flowgrid.protocol.departures import BlocksCorrupt, CopyBlocks
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.messages import (
    AttemptCancelled,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CallRoll,
    CancelAttempts,
    DescribeStage,
    DropAttempts,
    DropJob,
    ExecutorLeft,
    ExecutorRegistered,
    Fence,
    KeepAlive,
    LaunchAttempts,
    LocateInputs,
    StopExecutor,
)
from flowgrid.protocol.programs import EndDriver, OutputTaken, StartDriver
from flowgrid_executor.backlog import DescribedStage, Waiting
from flowgrid_executor.copies import Copies
from flowgrid_executor.directories import LocalDirectories
from flowgrid_executor.drivers import Drivers
from flowgrid_executor.events import (
    Action,
    AnswerRollCall,
    BlocksFetched,
    ClearSpill,
    DriverExited,
    DriverSpoke,
    DropAllBlocks,
    DropBlocks,
    DropJobBlocks,
    Event,
    Exit,
    KeepBlocks,
    LinkBroken,
    Rejoin,
    RunInSlot,
    SchedulerHeard,
    Send,
    SendHeartbeats,
    SlotAnswered,
    SlotHungUp,
    SlotOverran,
    StartTemplate,
    StopRequested,
    TemplateDied,
    Tick,
)
from flowgrid_executor.executor_setup import ExecutorSetup
from flowgrid_executor.holdings import Holdings
from flowgrid_executor.memory import IDLE_SLOT_BYTES, held_bytes_max, memory_failure
from flowgrid_executor.slot_memory import end_overrun, give_back
from flowgrid_executor.slot_protocol import (
    AttemptDone,
    ForkSlot,
    KillSlot,
    SlotDied,
    SlotForked,
    describe_exit,
)
from flowgrid_executor.slot_state import Slot, SlotState, may_begin, running

FORK_PAUSE_S = 1.0
"""A slot that dies without an attempt, or cannot be forked, is forked again after a pause: the machine
is short of something, and trying at once would only make it worse."""

KNOCK_AFTER_S = 1.0
"""A scheduler that has said nothing for so long may be another one by now, which answers only those
who speak. An executor that works in silence would never hear of it."""

TEMPLATE_DEATHS_MAX = 3
"""A template that dies this often without forking one slot will never fork one."""


class ExecutorCore:
    """Slots, the backlog in front of them, and what the scheduler has said so far."""

    def __init__(self, setup: ExecutorSetup, now: float) -> None:
        self._setup = setup
        self._slots = [Slot(number) for number in range(setup.slot_count)]
        self._stages: dict[StageId, DescribedStage] = {}
        self._backlog: deque[Waiting] = deque()
        self._holdings = Holdings()
        self._dropping: set[JobId] = set()
        self._copies = Copies()
        self.directories = LocalDirectories(setup.directories)
        self._drivers = Drivers()
        self._fenced: str | None = None
        self._now = self._heard_at = now
        self._template_deaths = 0

    def start(self) -> list[Action]:
        """What to ask for before anything has happened."""
        return [ForkSlot(slot.number) for slot in self._slots]

    def handle(self, event: Event, now: float) -> list[Action]:
        self._now = now
        match event:
            case SlotForked():
                return self._slot_forked(event.slot)
            case SlotAnswered():
                return self._slot_answered(event)
            case SlotOverran():
                return end_overrun(self._slots[event.slot], event, self._setup)
            case SlotHungUp():
                self._slots[event.slot].hung_up = True
                return [KillSlot(event.slot)]
            case SlotDied():
                return self._slot_died(event, now)
            case TemplateDied():
                return self._template_died(event.exit_code, now)
            case Tick():
                return self._tick(event, now)
            case DriverSpoke():
                return self._drivers.handle(event)
            case DriverExited():
                return self._drivers.handle(event) + self._after_deaths(now)
            case BlocksFetched():
                return self._copies.ended(event, self._holdings) + self._after_deaths(now)
            case LinkBroken():
                return self._fence(event.reason, now)
            case StopRequested() | StopExecutor():
                reason = event.reason if isinstance(event, StopRequested) else "asked to stop"
                return [Send(ExecutorLeft(reason)), Exit(reason)]
        self._heard_at = now
        if self._fenced is not None:
            return []  # the last words of a link that is given up
        match event:
            case SchedulerHeard():
                return []
            case CallRoll():
                return self._answer_roll_call()
            case ExecutorRegistered():
                return [SendHeartbeats(event.heartbeat_address)]
            case Fence():
                return [Exit(event.reason, True)] if event.final else self._fence(event.reason, now)
            case DescribeStage():
                self._stages[event.stage] = DescribedStage(event.spec)
                return []
            case LocateInputs():
                if event.stage in self._stages:
                    self._stages[event.stage].inputs = event.inputs
                return []
            case LaunchAttempts():
                return self._launch(event.attempts)
            case CancelAttempts():
                cancels = [a for attempt in event.attempts for a in self._cancel(attempt)]
                return cancels + self._fill_slots()
            case DropAttempts():
                drops = [a for attempt in event.attempts for a in self._drop(attempt)]
                return drops + self._fill_slots()
            case BlocksCorrupt():
                return self.directories.corrupt(self._holdings.directory_of(event.attempt))
            case CopyBlocks():
                return self._copies.begin(event, self.directories, now)
            case DropJob():
                return self._drop_job(event.job) + self._fill_slots()
            case StartDriver() | EndDriver() | OutputTaken():
                return self._drivers.handle(event)
            case _:
                assert_never(event)

    # -- attempts ----------------------------------------------------------------------------------

    def _launch(self, attempts: tuple[AttemptId, ...]) -> list[Action]:
        actions: list[Action] = []
        known = {waiting.attempt for waiting in self._backlog}
        known |= {slot.attempt for slot in self._slots if slot.attempt is not None}
        for attempt in attempts:
            stage = self._stages.get(attempt.stage_id)
            if stage is None:
                message = f"{attempt} was launched before {attempt.stage_id} was described"
                failure = Failure(FailureKind.INTERNAL, message)
                actions.append(Send(AttemptFailed(attempt, failure)))
            elif attempt not in known:
                self._backlog.append(Waiting(attempt, stage.spec, stage.inputs))
        return actions + self._fill_slots()

    @property
    def has_backlog(self) -> bool:
        """Whether a slot that gets free has something to do without a word from the scheduler."""
        return bool(self._backlog)

    def running(self, now: float) -> list[tuple[int, AttemptId, float]]:
        """(slot, attempt, seconds) of every attempt that runs for more than a moment."""
        return running(self._slots, now)

    def _fill_slots(self) -> list[Action]:
        actions: list[Action] = []
        if self._backlog and self._backlog[0].alone and may_begin(self._slots, alone=True):
            actions += give_back(self._slots, IDLE_SLOT_BYTES)
        for slot in self._slots:
            if not self._backlog or not may_begin(self._slots, self._backlog[0].alone):
                break
            if slot.state is SlotState.IDLE:
                waiting = self._backlog.popleft()
                slot.state, slot.work = SlotState.RUNNING, waiting
                slot.began_at = self._now
                places = self.directories.places(slot.number, self._now, waiting.refused)
                request = waiting.request(slot.number, self._setup, *places)
                self._holdings.begin(request)
                actions.append(RunInSlot(slot.number, request))
                if waiting.is_new:  # or it has been said
                    actions.append(Send(AttemptStarted(waiting.attempt)))
        return actions

    def _failed(
        self, work: Waiting, failure: Failure, directory: str = "", overran: bool = False
    ) -> list[Action]:
        """The last word, or another try before anything else begins."""
        blamed = self.directories.failed(directory, failure, self._now)
        again = work.again(failure, directory, self.directories, overran)
        if again is not None:
            self._backlog.appendleft(again)
            return blamed
        if failure.kind is FailureKind.OUT_OF_MEMORY:
            failure = memory_failure(self._setup, failure)
        return [Send(AttemptFailed(work.attempt, failure)), *blamed]

    def _cancel(self, attempt: AttemptId) -> list[Action]:
        """Out of the backlog at once; out of a slot when the slot is dead."""
        for slot in self._slots:
            if slot.attempt == attempt:
                slot.overrun = ""
                if slot.state is SlotState.DYING:
                    return []
                slot.state = SlotState.DYING
                return [KillSlot(slot.number)]
        for waiting in self._backlog:
            if waiting.attempt == attempt:
                self._backlog.remove(waiting)
                return [Send(AttemptCancelled(attempt))]
        return []

    def _drop(self, attempt: AttemptId) -> list[Action]:
        if attempt in self._copies:
            self._copies.forget(attempt)
            return []
        self._holdings.drop(attempt)
        # What runs is cancelled; its files are deleted when its slot is dead and cannot write more.
        running = any(slot.attempt == attempt for slot in self._slots)
        return self._cancel(attempt) or ([] if running else [DropBlocks(attempt)])

    def _drop_job(self, job: JobId) -> list[Action]:
        self._stages = {s: stage for s, stage in self._stages.items() if s.job != job.number}
        self._holdings.drop_job(job)
        doomed = [w.attempt for w in self._backlog if w.attempt.job == job.number]
        doomed += [s.attempt for s in self._slots if s.attempt and s.attempt.job == job.number]
        actions = [action for attempt in doomed for action in self._cancel(attempt)]
        self._copies.forget_job(job)
        self._dropping.add(job)
        return actions + self._drop_idle_jobs()

    def _drop_idle_jobs(self) -> list[Action]:
        """Delete the dropped jobs that no slot can write for any more."""
        busy = {slot.attempt.job for slot in self._slots if slot.attempt is not None}
        busy |= self._copies.jobs()
        idle = sorted(job for job in self._dropping if job.number not in busy)
        self._dropping.difference_update(idle)
        return [DropJobBlocks(job) for job in idle]

    # -- slots -------------------------------------------------------------------------------------

    def _slot_forked(self, number: int) -> list[Action]:
        self._template_deaths = 0
        self._slots[number].state = SlotState.IDLE
        return self._fill_slots()

    def _slot_answered(self, event: SlotAnswered) -> list[Action]:
        slot, answer = self._slots[event.slot], event.answer
        work = slot.work
        if slot.state is not SlotState.RUNNING or work is None or work.attempt != answer.attempt:
            return []  # it was cancelled in the meantime, and its slot is dying
        slot.state, slot.work, slot.held_bytes = SlotState.IDLE, None, event.held_bytes
        actions: list[Action]
        if isinstance(answer, AttemptDone):
            self._holdings.finish(answer.attempt, answer.report)
            succeeded = AttemptSucceeded(answer.attempt, answer.report)
            actions = [KeepBlocks(answer.attempt), Send(succeeded)]
        else:
            self._holdings.drop(answer.attempt)
            actions = [
                DropBlocks(answer.attempt),
                *self._failed(work, answer.failure, answer.directory),
            ]
        actions += give_back([slot], held_bytes_max(self._setup))
        return actions + self._fill_slots()

    def _slot_died(self, event: SlotDied, now: float) -> list[Action]:
        slot = self._slots[event.slot]
        how = describe_exit(event.exit_code)
        # A slot that is ending by itself hangs up first, and keeps its own exit code if we kill it then.
        if slot.hung_up and event.killed and event.exit_code == -signal.SIGKILL:
            how = "closed its connection and was killed"
        if event.starved and slot.state is SlotState.RUNNING:
            slot.overrun = f"the slot running {slot.attempt} was killed by the system for memory"
        by_itself = slot.attempt is None and slot.state is not SlotState.DYING
        actions = self._bury(slot, how)
        if by_itself:
            slot.state, slot.rests_until = SlotState.RESTING, now + FORK_PAUSE_S
        else:
            actions.append(ForkSlot(slot.number))
        return actions + self._after_deaths(now) + self._fill_slots()

    def _bury(self, slot: Slot, how: str) -> list[Action]:
        """Settle what a dead slot was running; it is to be forked again."""
        actions: list[Action] = [ClearSpill(slot.number)]
        starved, cancelled = slot.overrun, slot.state is SlotState.DYING
        if (work := slot.dies()) is None:
            return actions
        self._holdings.drop(work.attempt)
        actions.append(DropBlocks(work.attempt))
        if self._fenced is not None:
            return actions
        if cancelled and not starved:
            return [*actions, Send(AttemptCancelled(work.attempt))]
        kind = FailureKind.OUT_OF_MEMORY if starved else FailureKind.PROCESS_DIED
        what = starved or f"the slot running {work.attempt} {how}"
        return actions + self._failed(work, Failure(kind, what), overran=bool(starved))

    def _template_died(self, exit_code: int, now: float) -> list[Action]:
        how = f"died with its template, which {describe_exit(exit_code)}"
        actions = [action for slot in self._slots for action in self._bury(slot, how)]
        self._template_deaths += 1
        if self._template_deaths >= TEMPLATE_DEATHS_MAX:
            reason = f"no slot can be forked: the template {describe_exit(exit_code)}"
            return [*actions, Send(ExecutorLeft(reason)), Exit(reason, True)]
        return [*actions, StartTemplate(), *self.start(), *self._after_deaths(now)]

    # -- being one of the cluster ------------------------------------------------------------------

    def _answer_roll_call(self) -> list[Action]:
        """Keep what the next scheduler may want; what waits here waits there, too."""
        self._stages.clear()
        self._backlog.clear()
        running = {slot.attempt for slot in self._slots if slot.state is SlotState.RUNNING}
        known = {attempt for attempt in running if attempt is not None}
        claims = tuple(self._holdings.claims(known))
        return [AnswerRollCall(claims, self._drivers.claims())]

    def _fence(self, reason: str, now: float) -> list[Action]:
        """Stop all work, forget everything, and come back as somebody else."""
        if self._fenced is not None:
            return []
        self._fenced = reason
        self._stages.clear()
        self._backlog.clear()
        self._dropping.clear()
        self._holdings.clear()
        self._copies.forget_all()
        kills = self._drivers.end_all()
        for slot in self._slots:
            if slot.state is SlotState.RUNNING:
                slot.state = SlotState.DYING
                kills.append(KillSlot(slot.number))
        return kills + self._after_deaths(now)

    def _after_deaths(self, now: float) -> list[Action]:
        """What had to wait until a slot could write no more."""
        if self._fenced is None:
            return self._drop_idle_jobs()
        if self._copies or any(slot.attempt is not None for slot in self._slots):
            return []
        if self._drivers.running:
            return []
        reason, self._fenced, self._heard_at = self._fenced, None, now
        return [DropAllBlocks(), Rejoin(reason)]

    def _tick(self, tick: Tick, now: float) -> list[Action]:
        actions: list[Action] = []
        self.directories.measured(tick.room)
        for slot in self._slots:
            if slot.state is SlotState.RESTING and now >= slot.rests_until:
                slot.state = SlotState.FORKING
                actions.append(ForkSlot(slot.number))
        if now - self._heard_at > KNOCK_AFTER_S and self._fenced is None:
            actions.append(Send(KeepAlive()))
        if now - self._heard_at > self._setup.lease_s:
            reason = f"nothing heard from the scheduler for {self._setup.lease_s:g} s"
            actions += self._fence(reason, now)
        return actions
