"""The scheduler's process: a real `SchedulerCore` and `Links` on virtual time, checked at every event.

It does for the core what `flowgrid_scheduler.server` does, and it can die at every moment of that.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import zmq
from flowgrid_scheduler.actions import Action, SendToExecutor
from flowgrid_scheduler.cluster import ClusterIdentity
from flowgrid_scheduler.core import SchedulerCore
from flowgrid_scheduler.events import Event, ExecutorUnreachable, SessionUnreachable, Tick
from flowgrid_scheduler.invariants import check
from flowgrid_scheduler.job_log import Changes, Key
from flowgrid_scheduler.links import Links, Peer
from flowgrid_scheduler.snapshots import snapshot

from flowgrid.ids import ExecutorId
from flowgrid.protocol.codec import driver_envelopes, executor_envelopes, heartbeats
from flowgrid.protocol.departures import DecommissionExecutor
from flowgrid.protocol.messages import DriverEnvelope, ExecutorEnvelope, LaunchAttempts
from tests.scheduler.story import VERSIONS
from tests.simulation.network import Router
from tests.simulation.waits import check_waits

if TYPE_CHECKING:
    from tests.simulation.world import World

PROBE_S = 0.5
TURN_S = 0.000_1

WAITS_EVERY = 4
"""What jobs wait for is checked in every fourth schedule: it takes as long as all other checks."""


SNAPSHOT_EVERY = 20
"""Turns between two looks at the whole log."""


class Moment(enum.Enum):
    """When in its life a scheduler is killed."""

    IDLE = enum.auto()
    BEFORE_LOG = enum.auto()
    """In the middle of a turn. The log takes a turn as a whole or not at all."""
    BEFORE_WORDS = enum.auto()
    """What was decided is in the log, and nobody has heard of it."""


class MemoryLog:
    """A job log that outlives the processes that write it."""

    def __init__(self) -> None:
        self.facts: dict[Key, bytes] = {}

    def read(self) -> Iterator[tuple[Key, bytes]]:
        return iter(sorted(self.facts.items()))

    def write(self, changes: Changes) -> None:
        for job in changes.jobs_gone:
            for key in [key for key in self.facts if key.job == job]:
                del self.facts[key]
        for key, body in changes.facts:
            if body is None:
                self.facts.pop(key, None)
            else:
                self.facts[key] = body


class SimScheduler:
    """One start of a scheduler."""

    control_address = "control"
    heartbeat_address = "heartbeat"

    def __init__(self, world: World, epoch: int) -> None:
        self._world = world
        identity = ClusterIdentity(epoch, VERSIONS, self.heartbeat_address)
        self.identity = identity
        self.facts = tuple(world.log.read())
        self.core = SchedulerCore(world.config, identity, self.facts)
        world.witness.follow(self.core)
        self._control = world.network.bind(self.control_address, self._wake)
        self._heartbeat = world.network.bind(self.heartbeat_address, self._wake)
        control = cast("zmq.Socket[bytes]", self._control)
        self._links = Links(control, epoch, self.core.state.sessions.received)
        self._actions: list[Action] = []
        self.recorded: list[tuple[float, Event]] = []
        self._happened: list[tuple[Event, list[Action]]] = []
        self._doomed: Moment | None = None
        self._turns = 0
        self.alive = True
        self.paused = False
        self._turn_planned = False
        self._tick_planned = False
        self._probe_at = 0.0
        self._write_log()
        self._plan_probe()

    def kill(self, moment: Moment) -> None:
        """Now, or in the middle of its next turn."""
        self._doomed = moment
        if moment is Moment.IDLE:
            self._die()

    def _die(self) -> None:
        assert self._doomed is not None
        self._world.deaths.add(self._doomed)
        self.alive = False
        dice = self._world.dice
        for router in (self._control, self._heartbeat):
            router.die(last_words_arrive=lambda: dice.random() < 0.5)
        self._world.scheduler_died()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self._wake()

    def decommissions(self, executor: ExecutorId) -> None:
        """An observer asks for it."""
        if self.alive and not self.paused:
            word = DecommissionExecutor(str(executor))
            self._handle(DriverEnvelope("observer-7", 0, (word,)))
            self._wake()

    # -- the loop ------------------------------------------------------------------------------

    def _wake(self) -> None:
        if not self._turn_planned:
            self._turn_planned = True
            self._world.timeline.after(TURN_S, self._turn)

    def _plan_probe(self) -> None:
        if not self.alive:
            return
        self._world.timeline.after(PROBE_S, self._plan_probe)
        self._wake()

    def _plan_tick(self) -> None:
        deadline = self.core.next_deadline()
        if deadline is not None and not self._tick_planned:
            self._tick_planned = True
            self._world.timeline.at(deadline, self._tick_is_due)

    def _tick_is_due(self) -> None:
        self._tick_planned = False
        self._wake()

    def _turn(self) -> None:
        self._turn_planned = False
        if self.paused or not self.alive:
            return
        now = self._world.timeline.now
        self._take_heartbeats(self._heartbeat)
        self._take_control(self._control)
        deadline = self.core.next_deadline()
        if deadline is not None and now >= deadline:
            self._handle(Tick())
        if now >= self._probe_at:
            self._probe_at = now + PROBE_S
            for peer in self._links.probe():
                self._handle(_unreachable(peer))
        if self._doomed is Moment.BEFORE_LOG:
            self._die()
            return
        self._settle()
        if self.alive:
            self._plan_tick()

    def _settle(self) -> None:
        """First the log, then the words."""
        self._write_log()
        if self._doomed is Moment.BEFORE_WORDS:
            self._die()
        else:
            self._send_words()

    def _write_log(self) -> None:
        self._world.log.write(self.core.changes())
        for event, actions in self._happened:
            self._world.witness.heard(event)
            self._world.witness.saw(actions)
        self._happened.clear()
        self._turns += 1
        if self._turns % SNAPSHOT_EVERY == 1:
            self.check_log()

    def check_log(self) -> None:
        """The log is a snapshot, whatever the way to it was."""
        assert self._world.log.facts == snapshot(self.core.state), "the log is not what is known"

    def _send_words(self) -> None:
        actions, self._actions = self._actions, []
        self._links.send(actions)

    def _take_heartbeats(self, router: Router) -> None:
        while router.inbox:
            identity, payload = router.inbox.popleft()
            heartbeat = heartbeats.decode(payload)
            self._links.heard(heartbeat.executor, identity)
            self._handle(heartbeat)
            if not self.core.state.executors.present(heartbeat.executor):
                continue
            try:
                answer = self._links.sign_of_life(heartbeat.executor)
                router.send_multipart((identity, answer))
            except zmq.ZMQError:
                continue  # it is gone

    def _take_control(self, router: Router) -> None:
        while router.inbox:
            identity, payload = router.inbox.popleft()
            envelope: DriverEnvelope | ExecutorEnvelope
            peer: Peer
            if payload[1:2] == b"\x92":
                envelope = executor_envelopes.decode(payload)
                peer = envelope.executor
            else:
                envelope = driver_envelopes.decode(payload)
                peer = envelope.session
            if self._links.heard(peer, identity):
                self._handle(envelope)

    def _handle(self, event: Event) -> None:
        now = self._world.timeline.now
        self._world.note("scheduler", event)
        self.recorded.append((now, event))
        actions = self.core.handle(event, now)
        check(self.core)
        self._happened.append((event, actions))
        if self._world.seed % WAITS_EVERY == 0:
            check_waits(self.core.state)
        for action in actions:
            if isinstance(action, SendToExecutor) and isinstance(action.message, LaunchAttempts):
                self._world.launched |= {(action.executor, a) for a in action.message.attempts}
        self._actions += actions


def _unreachable(peer: Peer) -> Event:
    return ExecutorUnreachable(peer) if isinstance(peer, ExecutorId) else SessionUnreachable(peer)
