"""Pure: the drivers of submitted programs that this executor runs, beside its slots.

What a driver prints goes to the scheduler, which takes it as fast as somebody reads it. Up to a window
of bytes that were not taken the driver may print; then its pipe fills and it waits. A driver that has
ended is remembered until the scheduler says that it knows.
"""

from __future__ import annotations

from collections import deque

from flowgrid.config import KIB
from flowgrid.ids import DriverId
from flowgrid.protocol.programs import (
    DriverEnded,
    DriverOrder,
    DriverPrinted,
    EndDriver,
    HeldDriver,
    Output,
    OutputTaken,
    StartDriver,
)
from flowgrid_executor.events import (
    Action,
    DriverExited,
    DriverSpoke,
    KillDriver,
    ReadDriver,
    RunDriver,
    Send,
)

WINDOW_BYTES = 256 * KIB
"""What a driver may have printed that the scheduler has not taken."""

REMEMBERED_BYTES = 128 * KIB
"""What was taken may not have been read yet: the scheduler's successor is told again."""


class _Driver:
    def __init__(self) -> None:
        self.ended: DriverEnded | None = None
        self.wanted = True
        """Whether the scheduler still wants to hear of it."""
        self.printed = 0
        self.taken = 0
        self.recent: deque[Output] = deque()

    @property
    def may_print(self) -> bool:
        return self.printed - self.taken < WINDOW_BYTES


class Drivers:
    """From their start until they have ended and the scheduler knows it."""

    def __init__(self) -> None:
        self._drivers: dict[DriverId, _Driver] = {}

    @property
    def running(self) -> bool:
        return any(driver.ended is None for driver in self._drivers.values())

    def handle(self, event: DriverOrder | DriverSpoke | DriverExited) -> list[Action]:
        if isinstance(event, StartDriver):
            return self._start(event)
        driver = self._drivers.get(event.driver)
        if driver is None:
            return []
        match event:
            case EndDriver():
                return self._end(event.driver, driver)
            case OutputTaken():
                return self._taken(event, driver)
            case DriverSpoke():
                return self._spoke(event, driver)
            case DriverExited():
                return self._exited(event, driver)

    def end_all(self) -> list[Action]:
        """Nobody wants them any more."""
        drivers = list(self._drivers.items())
        return [action for id_, driver in drivers for action in self._end(id_, driver)]

    def claims(self) -> tuple[HeldDriver, ...]:
        """What the next scheduler has to know; it may not have what this one has taken."""
        return tuple(
            HeldDriver(id_, driver.ended, tuple(driver.recent))
            for id_, driver in self._drivers.items()
            if driver.wanted
        )

    def _start(self, order: StartDriver) -> list[Action]:
        if order.driver in self._drivers:
            return []
        self._drivers[order.driver] = _Driver()
        return [RunDriver(order.driver, order.spec)]

    def _end(self, id_: DriverId, driver: _Driver) -> list[Action]:
        driver.wanted = False
        if driver.ended is None:
            return [KillDriver(id_)]
        del self._drivers[id_]
        return []

    def _taken(self, word: OutputTaken, driver: _Driver) -> list[Action]:
        held_up = not driver.may_print
        driver.taken = max(driver.taken, word.offset)
        known = min(driver.taken, driver.printed - REMEMBERED_BYTES)
        while driver.recent and driver.recent[0].end <= known:
            driver.recent.popleft()
        return [ReadDriver(word.driver)] if held_up and driver.may_print else []

    def _spoke(self, event: DriverSpoke, driver: _Driver) -> list[Action]:
        piece = Output(event.driver, driver.printed, event.data, event.error)
        driver.printed = piece.end
        actions: list[Action] = []
        if driver.wanted:
            driver.recent.append(piece)
            actions.append(Send(DriverPrinted(piece)))
        if driver.may_print or not driver.wanted:
            actions.append(ReadDriver(event.driver))
        return actions

    def _exited(self, event: DriverExited, driver: _Driver) -> list[Action]:
        driver.ended = DriverEnded(event.driver, event.exit_code, event.reason)
        if driver.wanted:
            return [Send(driver.ended)]
        del self._drivers[event.driver]
        return []
