"""An executor's process: a real `ExecutorCore` and `SchedulerLink`, with simulated slots and disk.

It does for the core what `flowgrid_executor.server` does, on virtual time.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, assert_never

from flowgrid_executor.core import ExecutorCore
from flowgrid_executor.events import (
    Action,
    AnswerRollCall,
    BlocksFetched,
    ClearSpill,
    DropAllBlocks,
    DropBlocks,
    DropJobBlocks,
    Event,
    ExcludeDirectory,
    Exit,
    FetchBlocks,
    KeepBlocks,
    KillDriver,
    ReadDriver,
    Rejoin,
    RunDriver,
    RunInSlot,
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
from flowgrid_executor.outbox import Outbox
from flowgrid_executor.scheduler_link import SchedulerLink
from flowgrid_executor.server import LEASE_SHARE
from flowgrid_executor.slot_protocol import (
    AttemptBroke,
    ForkSlot,
    FromSlot,
    KillSlot,
    SlotDied,
    SlotForked,
)

from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.protocol.failures import FailureKind
from flowgrid.protocol.job_graph import ExecutorAddress
from flowgrid.protocol.messages import AttemptFailed, RegisterExecutor
from flowgrid.protocol.reports import HeldAttempt
from flowgrid.protocol.waits import AttemptProgress
from tests.scheduler.story import VERSIONS
from tests.simulation.disks import BlockFile, Disk, ReadError
from tests.simulation.slot_run import SlotRun

if TYPE_CHECKING:
    from tests.simulation.world import World

FORK_S = 0.02
DEATH_S = 0.01
KILL_S = 0.1
ANSWER_S = 0.001
COPY_S = 0.3
LOOK_S = 0.5


class SimExecutor:
    """One process from its start to its end; incarnations come and go within it."""

    def __init__(self, world: World, name: str, host: str, slot_count: int) -> None:
        self.world = world
        self.name = name
        self.alive = True
        self.paused = self.slow = self.flaky = False
        self.directory = f"/blocks/{name}"
        self.disk = Disk(host, self.directory, f"/more/{name}")
        world.disks.by_directory[self.directory] = self.disk
        self._setup = ExecutorSetup(
            slot_count=slot_count,
            threads_per_slot=1,
            memory_bytes=1 << 30,
            directory=self.directory,
            host=host,
            settings={},
            keys_directory="",
            lease_s=world.config.executor_heartbeat_timeout_s * LEASE_SHARE,
            more_directories=self.disk.directories[1:],
        )
        self.core = ExecutorCore(self._setup, world.timeline.now)
        self._context = world.network.context(self._wake)
        self._runs: dict[int, SlotRun] = {}
        self._dying: set[int] = set()
        self._template = 0
        self._slot_events: list[Event] = []
        self._outbox = Outbox()
        self._beat_at = world.timeline.now
        self._join()
        self._perform_all(self.core.start())
        self._beat()

    # -- what happens to the process -----------------------------------------------------------

    def kill(self) -> None:
        """At once, with all slots; the directory stays where it is."""
        self.alive = self.disk.served = False
        self._end_slots()
        self.link.close()

    def vanish(self) -> None:
        """The host is gone: nobody closes a connection, and nothing can be read any more."""
        self.alive = self.disk.served = self.disk.mounted = False
        self._end_slots()
        self.disk.files.clear()

    def stop(self) -> None:
        """SIGTERM."""
        self._slot_events.append(StopRequested("SIGTERM"))
        self._wake()

    def pause(self) -> None:
        self.paused = self.disk.paused = True

    def resume(self) -> None:
        self.paused = self.disk.paused = False
        self._wake()
        self._beat()

    def template_dies(self) -> None:
        self._end_slots()
        self._happens(TemplateDied(-9))

    @property
    def id(self) -> ExecutorId:
        return self._executor

    def leftovers(self) -> list[str]:
        """What still waits or runs here."""
        return [
            f"slot {slot} of {self.name} is busy" for slot, run in self._runs.items() if run.alive
        ]

    @property
    def memory_bytes(self) -> int:
        return self._setup.memory_bytes

    def memory_in_use(self) -> int:
        """By all that runs, and by what does not know yet that it is dead."""
        return sum(run.memory_bytes for run in self._runs.values() if run.alive)

    # -- slots ---------------------------------------------------------------------------------

    def slot_answers(self, slot: int, answer: FromSlot) -> None:
        self._runs.pop(slot, None)
        self._later(ANSWER_S, SlotAnswered(slot, answer))

    def slot_overruns(self, slot: int, attempt: AttemptId) -> None:
        """It goes on, and may even be done when somebody looks."""
        used_bytes = self._setup.memory_bytes
        found_s = self.world.dice.random() * LOOK_S
        self._later(found_s, SlotOverran(slot, attempt, used_bytes))

    def slot_crashes(self, slot: int) -> None:
        self._runs.pop(slot).stop()
        if slot in self._dying:
            return
        self._dying.add(slot)
        self._later(ANSWER_S, SlotHungUp(slot))
        self._later(DEATH_S, SlotDied(slot, -11))

    def _kill_slot(self, slot: int) -> None:
        if slot in self._dying:
            return
        self._dying.add(slot)
        # The template kills, and it takes its time: until then the slot goes on.
        run, death_s = self._runs.get(slot), DEATH_S + self.world.dice.random() * KILL_S
        if run is not None:
            self.world.timeline.after(death_s, run.stop)
        self._later(death_s, SlotDied(slot, -9, killed=True))

    def _end_slots(self) -> None:
        for run in self._runs.values():
            run.stop()
        self._runs.clear()
        self._dying.clear()
        self._template += 1

    def _later(self, seconds: float, event: Event) -> None:
        """A word of a slot or of the template, unless that template is gone by then."""
        template = self._template
        self.world.timeline.after(
            seconds, lambda: self._happens(event) if template == self._template else None
        )

    def _happens(self, event: Event) -> None:
        self._slot_events.append(event)
        self._wake()

    # -- the loop of the supervisor ------------------------------------------------------------

    def _beat(self) -> None:
        if self.alive and not self.paused and self.world.timeline.now >= self._beat_at:
            interval_s = self.world.config.executor_heartbeat_interval_s
            self._beat_at = self.world.timeline.now + interval_s
            self.world.timeline.at(self._beat_at, self._beat)
            now = self.world.timeline.now
            running = [AttemptProgress(a, run_s) for _, a, run_s in self.core.running(now)]
            self.link.beat(0, running)
            room = tuple(0.0 if one in self.disk.full else 0.5 for one in self.disk.directories)
            self._slot_events.append(Tick(room))
            self._wake()

    def _wake(self) -> None:
        if self.alive and not self.paused:
            events = self.link.events(self.link.sockets)
            happened: list[Event] = [*events, *self._slot_events]
            self._slot_events.clear()
            self._settle(happened)

    def _settle(self, happened: list[Event]) -> None:
        while True:
            for event in happened:
                self.world.note(self.name, event)
                if isinstance(event, SlotAnswered) and event.slot not in self._dying:
                    self._disk_failed(event.answer)
                if isinstance(event, SlotOverran):
                    self.world.short_of_memory.add((self.id, event.attempt))
                self._perform_all(self.core.handle(event, self.world.timeline.now))
                if not self.alive:
                    break
            happened = []
            due = self._outbox.due(self.core.has_backlog)
            if due <= self.world.timeline.now:
                happened += self.link.send(self._outbox.take())
            elif due < math.inf:
                self.world.timeline.at(due, self._wake)
            if not happened:
                break
        if not self.alive:
            self.kill()

    def _perform_all(self, actions: list[Action]) -> None:
        for action in actions:
            self._perform(action)

    def _perform(self, action: Action) -> None:
        match action:
            case Send():
                if isinstance(action.message, AttemptFailed):
                    self.world.check_failure(self, action.message)
                self._outbox.add(action.message, self.world.timeline.now)
            case RunInSlot():
                self.world.check_run(self, action.request)
                self._runs[action.slot] = SlotRun(self, action.slot, action.request)
            case ForkSlot():
                self._dying.discard(action.slot)
                self._later(FORK_S, SlotForked(action.slot, 100 + action.slot))
            case KillSlot():
                self._kill_slot(action.slot)
            case DropBlocks():
                self.disk.drop(action.attempt)
            case DropJobBlocks():
                self.disk.drop_job(action.job)
            case DropAllBlocks():
                self.disk.files.clear()
            case Rejoin():
                self.link.close()
                self._join()
            case AnswerRollCall():
                held = tuple(claim for claim in action.held if self._is_there(claim))
                self._register(self.link.epoch, held)
            case SendHeartbeats():
                self.link.send_heartbeats_to(action.address)
            case ExcludeDirectory():
                self.disk.excluded.add(action.directory)
            case Exit():
                self.alive = False
                self.disk.files.clear()
                if self.disk.excluded == set(self.disk.directories):
                    self.world.start_executor()  # somebody changes the disks
            case FetchBlocks():
                copy_s = self.world.dice.random() * COPY_S
                self.world.timeline.after(copy_s, lambda: self._copy(action))
            case RunDriver() | KillDriver() | ReadDriver():
                raise AssertionError("nobody submits programs here")
            case StartTemplate() | KeepBlocks() | ClearSpill():
                pass  # nothing that could fail here
            case _:
                assert_never(action)

    def _disk_failed(self, answer: FromSlot) -> None:
        """What the core hears now, it has to know from now on."""
        if isinstance(answer, AttemptBroke) and answer.directory:
            self.world.refused[self.id, answer.attempt].add(answer.directory)
            if answer.failure.kind is FailureKind.DISK_BAD:
                self.disk.found_bad.add(answer.directory)

    def _copy(self, wanted: FetchBlocks) -> None:
        if not self.alive:
            return
        error = ""
        try:
            file = self.world.disks.open(self._setup.host, wanted.source, wanted.attempt)
        except ReadError as failed:
            error = str(failed.cause)
        else:
            if wanted.directory in self.disk.full | self.disk.bad:
                error = "it cannot be written"
            else:
                self.disk.files[wanted.attempt] = BlockFile(file.blocks, file.lineage)
        self._happens(BlocksFetched(wanted.attempt, error))

    def _join(self) -> None:
        self._executor = ExecutorId(self.name, self.world.dice.getrandbits(64))
        self.link = SchedulerLink(
            self._context, self.world.scheduler.control_address, self._executor, None
        )
        self._register()
        self._slot_events += self.link.send(self._outbox.take())

    def _register(self, epoch: int = 0, held: tuple[HeldAttempt, ...] = ()) -> None:
        address = ExecutorAddress(self._executor, self._setup.host, self.directory, self.name)
        slots = self._setup.slot_count
        word = RegisterExecutor(address, slots, 1 << 30, VERSIONS, epoch, held)
        self._outbox.take()
        self._outbox.add(word, self.world.timeline.now)

    def _is_there(self, claim: HeldAttempt) -> bool:
        report = claim.report
        return report is None or bool(report.files) or claim.attempt in self.disk.files
