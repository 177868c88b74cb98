"""Everything the scheduler can ask for: a word to a driver, a word to an executor."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from flowgrid.ids import ExecutorId
from flowgrid.protocol.messages import ToDriver, ToExecutor


class SendToDriver(msgspec.Struct, frozen=True):
    session: str
    message: ToDriver


class SendToExecutor(msgspec.Struct, frozen=True):
    executor: ExecutorId
    message: ToExecutor


Action: TypeAlias = SendToDriver | SendToExecutor


class Outbox:
    """The actions of one event, in the order in which they were decided."""

    def __init__(self) -> None:
        self._actions: list[Action] = []

    def to_driver(self, session: str, message: ToDriver) -> None:
        self._actions.append(SendToDriver(session, message))

    def to_executor(self, executor: ExecutorId, message: ToExecutor) -> None:
        self._actions.append(SendToExecutor(executor, message))

    def take(self) -> list[Action]:
        actions, self._actions = self._actions, []
        return actions
