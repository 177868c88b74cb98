"""One child process per slot, seen from the supervisor: fork, feed, watch, kill.

Nothing in here waits for a slot: what it has to say is collected by `events`, what it does not take at
once is kept until it does.
"""

from __future__ import annotations

import contextlib
import selectors
import signal
import socket
import subprocess
from typing import TypeAlias

import msgspec

from flowgrid.transport.processes import await_end
from flowgrid_executor.events import SlotAnswered, SlotHungUp, SlotOverran, TemplateDied
from flowgrid_executor.memory_watch import MemoryWatch
from flowgrid_executor.slot_channel import Channel
from flowgrid_executor.slot_protocol import (
    ForkSlot,
    FromSlot,
    FromTemplate,
    KillSlot,
    RunAttempt,
    SlotDied,
    SlotForked,
)
from flowgrid_executor.template_process import spawn_template

SlotEvent: TypeAlias = (
    SlotForked | SlotAnswered | SlotOverran | SlotHungUp | SlotDied | TemplateDied
)

_MESSAGE_BYTES_MAX = 4096
_END_S = 5.0

_decoder: msgspec.msgpack.Decoder[FromTemplate] = msgspec.msgpack.Decoder(FromTemplate)
_encoder = msgspec.msgpack.Encoder()


class Slots:
    """The template and a channel to each slot; `fileno` is readable when `events` has something."""

    def __init__(
        self, runner: str, template: tuple[subprocess.Popen[bytes], socket.socket] | None = None
    ) -> None:
        """`template` is one that was spawned before, to save time."""
        self._runner = runner
        self._selector = selectors.EpollSelector()
        self._channels: dict[int, Channel[FromSlot]] = {}
        self._memory = MemoryWatch()
        self._adopt(template or spawn_template(runner))

    def fileno(self) -> int:
        return self._selector.fileno()

    def start_template(self) -> None:
        """Another one, after `TemplateDied`."""
        self._adopt(spawn_template(self._runner))

    def _adopt(self, template: tuple[subprocess.Popen[bytes], socket.socket]) -> None:
        self._process, self._control = template
        self._forked = False
        self._selector.register(self._control, selectors.EVENT_READ)

    def fork(self, slot: int) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            ours.setblocking(False)
            self._channels[slot] = Channel(ours, FromSlot)  # type: ignore[arg-type]
            self._selector.register(ours, selectors.EVENT_READ, slot)
            self._tell(ForkSlot(slot), theirs.fileno())

    def kill(self, slot: int) -> None:
        self._tell(KillSlot(slot))

    def run(self, slot: int, request: RunAttempt) -> None:
        channel = self._channels.get(slot)
        if channel is None:
            return  # it died after its last answer, and the event that says so is under way
        # A slot that is gone is noticed by `events`.
        with contextlib.suppress(OSError):
            channel.send(request)
        if channel.unsent:
            self._watch(slot, channel)
        self._memory.begin(slot, request.attempt, request.memory_bytes)

    @property
    def look_at(self) -> float:
        """When `overruns` should be called, as `time.monotonic` counts."""
        return self._memory.due_at

    def overruns(self) -> list[SlotOverran]:
        """The slots that use more memory than they should."""
        return self._memory.look()

    def events(self) -> list[SlotEvent]:
        """What has happened since the last call."""
        happened: list[SlotEvent] = []
        for key, mask in self._selector.select(0):
            if key.data is None:
                happened += self._template_events()
            elif key.data in self._channels and key.fileobj is self._channels[key.data].stream:
                happened += self._slot_events(key.data, mask)
        return happened

    def close(self) -> None:
        """End the template and with it every slot; nothing of them runs when this returns."""
        if self._control.fileno() == -1:
            return
        self._control.close()
        if not self._forked:
            self._process.kill()  # it may be in the middle of its imports, and has no slot to end
        if self._process.poll() is None:
            await_end(self._process.pid, _END_S)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        for slot in list(self._channels):
            self._forget(slot)
        self._selector.close()

    def _slot_events(self, slot: int, mask: int) -> list[SlotEvent]:
        channel = self._channels[slot]
        if mask & selectors.EVENT_WRITE:
            with contextlib.suppress(OSError):
                channel.flush()
            self._watch(slot, channel)
        answers, is_open = channel.arrived()
        happened: list[SlotEvent] = [self._answered(slot, answer) for answer in answers]
        if not is_open:
            self._selector.unregister(channel.stream)
            happened.append(SlotHungUp(slot))
        return happened

    def _template_events(self) -> list[SlotEvent]:
        happened: list[SlotEvent] = []
        while True:
            try:
                data = self._control.recv(_MESSAGE_BYTES_MAX, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return happened
            except ConnectionResetError:
                data = b""
            if not data:
                return [*happened, self._template_died()]
            message = _decoder.decode(data)
            if isinstance(message, SlotDied):
                # It may have answered just before: that counts.
                answers, _ = self._channels[message.slot].arrived()
                happened += [self._answered(message.slot, answer) for answer in answers]
                self._forget(message.slot)
                if message.exit_code == -signal.SIGKILL and not message.killed:
                    starved = self._memory.oom_killer_struck()
                    message = msgspec.structs.replace(message, starved=starved)
            else:
                self._forked = True
                self._memory.open(message.slot, message.pid)
            happened.append(message)

    def _answered(self, slot: int, answer: FromSlot) -> SlotAnswered:
        return SlotAnswered(slot, answer, self._memory.end(slot))

    def _template_died(self) -> TemplateDied:
        self._selector.unregister(self._control)
        self._control.close()
        for slot in list(self._channels):
            self._forget(slot)
        return TemplateDied(self._process.wait())

    def _forget(self, slot: int) -> None:
        channel = self._channels.pop(slot)
        with contextlib.suppress(KeyError):  # it hung up before
            self._selector.unregister(channel.stream)
        channel.stream.close()
        self._memory.close(slot)

    def _watch(self, slot: int, channel: Channel[FromSlot]) -> None:
        mask = selectors.EVENT_READ | (selectors.EVENT_WRITE if channel.unsent else 0)
        with contextlib.suppress(KeyError):
            self._selector.modify(channel.stream, mask, slot)

    def _tell(self, message: ForkSlot | KillSlot, *descriptors: int) -> None:
        if self._control.fileno() == -1:
            return  # the template is known to be dead, and its slots with it
        # A template that is gone is noticed by `events`.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            socket.send_fds(self._control, [_encoder.encode(message)], descriptors)
