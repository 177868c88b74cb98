"""Faults that come over the cluster in the course of time: each knows whom to strike and how to heal."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from tests.simulation.disks import BlockFile
from tests.simulation.faults import WEATHER, Fault

if TYPE_CHECKING:
    from tests.simulation.drivers import SimDriver
    from tests.simulation.executors import SimExecutor
    from tests.simulation.schedulers import SimScheduler
    from tests.simulation.world import World

_PAUSES_S = (0.1, 0.6, 1.5, 4.0)
RESTART_S = 1.5


class Weather:
    """Strikes until `clears`."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._fine = False
        self._strikes: Mapping[Fault, Callable[[], None]] = {
            Fault.KILL_EXECUTOR: self._kill_executor,
            Fault.STOP_EXECUTOR: self._stop_executor,
            Fault.DECOMMISSION: self._decommission,
            Fault.JOIN_EXECUTOR: self._world.start_executor,
            Fault.HOST_LOST: self._lose_host,
            Fault.PAUSE_EXECUTOR: self._pause_executor,
            Fault.PAUSE_SCHEDULER: lambda: self._pause(self._world.scheduler),
            Fault.KILL_SCHEDULER: self._world.kill_scheduler,
            Fault.PAUSE_DRIVER: self._pause_driver,
            Fault.KILL_DRIVER: self._kill_driver,
            Fault.CANCEL_JOB: self._cancel_job,
            Fault.KILL_TEMPLATE: self._kill_template,
            Fault.SLOW_EXECUTOR: self._slow_executor,
            Fault.FLAKY_EXECUTOR: self._flaky_executor,
            Fault.BREAK_CONNECTION: self._break_connection,
            Fault.CLOG_CONNECTION: self._clog_connection,
            Fault.CUT_DATA: self._cut_data,
            Fault.DISK_FULL: self._fill_disk,
            Fault.DISK_BAD: self._spoil_disk,
            Fault.BLOCK_CORRUPT: self._corrupt_block,
            Fault.BLOCK_VANISHES: self._lose_block,
        }
        for fault in WEATHER:
            if world.faults.rate(fault):
                self._plan(fault)

    def clears(self) -> None:
        """No more faults, and those that last are over."""
        self._fine = True
        world = self._world
        world.disks.cuts.clear()
        for executor in world.executors:
            executor.disk.full.clear()
            executor.disk.bad.clear()
            executor.slow = executor.flaky = False
            if executor.alive and executor.paused:
                executor.resume()
        for driver in world.drivers:
            if driver.alive and driver.paused:
                driver.resume()
        if world.scheduler.alive:
            world.scheduler.resume()
        for dealer in world.network.dealers():
            dealer.to_router.clog(world.timeline.now)
            dealer.to_dealer.clog(world.timeline.now)
        staying = {one.id for one in world.scheduler.core.state.executors.staying()}
        if not any(executor.id in staying for executor in world.executors_alive()):
            world.start_executor()

    def _plan(self, fault: Fault) -> None:
        delay_s = self._world.dice.expovariate(self._world.faults.rate(fault))
        self._world.timeline.after(delay_s, lambda: self._strike(fault))

    def _strike(self, fault: Fault) -> None:
        if not self._fine:
            self._world.note("weather", fault)
            self._world.struck.add(fault)
            self._strikes[fault]()
            self._plan(fault)

    def _for_a_while(self, heal: Callable[[], None]) -> None:
        self._world.timeline.after(self._world.dice.choice(_PAUSES_S), heal)

    # -- processes and hosts -------------------------------------------------------------------

    def _any_executor(self) -> SimExecutor | None:
        alive = self._world.executors_alive()
        return self._world.dice.choice(alive) if alive else None

    def _any_driver(self) -> SimDriver | None:
        busy = [driver for driver in self._world.drivers if driver.busy]
        return self._world.dice.choice(busy) if busy else None

    def _kill_executor(self) -> None:
        executor = self._any_executor()
        if executor is not None:
            executor.kill()
            self._replace()

    def _stop_executor(self) -> None:
        executor = self._any_executor()
        if executor is not None:
            executor.stop()
            self._replace()

    def _decommission(self) -> None:
        executor = self._any_executor()
        if executor is not None:
            self._world.scheduler.decommissions(executor.id)
            self._replace()

    def _lose_host(self) -> None:
        executor = self._any_executor()
        if executor is not None:
            for other in self._world.executors_alive():
                if other.disk.host == executor.disk.host:
                    other.vanish()
            self._replace()

    def _replace(self) -> None:
        if self._world.dice.random() < 0.8:
            delay_s = self._world.dice.random() * RESTART_S
            self._world.timeline.after(delay_s, self._world.start_executor)

    def _pause_executor(self) -> None:
        executor = self._any_executor()
        if executor is not None:
            self._pause(executor)

    def _pause_driver(self) -> None:
        driver = self._any_driver()
        if driver is not None:
            self._pause(driver)

    def _pause(self, process: SimExecutor | SimDriver | SimScheduler) -> None:
        if not process.paused:
            process.pause()
            self._for_a_while(process.resume)

    def _kill_driver(self) -> None:
        driver = self._any_driver()
        if driver is not None and self._world.dice.random() < 0.5:
            driver.kill()
        elif driver is not None:
            driver.vanish()

    def _cancel_job(self) -> None:
        driver = self._any_driver()
        if driver is not None and not driver.paused:
            driver.cancels()

    def _kill_template(self) -> None:
        executor = self._any_executor()
        if executor is not None and not executor.paused:
            executor.template_dies()

    def _slow_executor(self) -> None:
        executor = self._any_executor()
        if executor is not None:
            executor.slow = True

            def heal() -> None:
                executor.slow = False

            self._for_a_while(heal)

    def _flaky_executor(self) -> None:
        executor = self._any_executor()
        if executor is not None:
            executor.flaky = True

    # -- connections ---------------------------------------------------------------------------

    def _break_connection(self) -> None:
        dealers = self._world.network.dealers()
        if dealers:
            self._world.dice.choice(dealers).breaks(self._world.dice.choice((0.05, 0.5, 2.0)))

    def _clog_connection(self) -> None:
        """One direction or both."""
        dealers = self._world.network.dealers()
        if dealers:
            dealer, dice = self._world.dice.choice(dealers), self._world.dice
            until = self._world.timeline.now + dice.choice(_PAUSES_S)
            which = dice.randint(1, 3)
            if which & 1:
                dealer.to_router.clog(until)
            if which & 2:
                dealer.to_dealer.clog(until)

    def _cut_data(self) -> None:
        pair = frozenset(self._world.dice.choices(self._world.hosts, k=2))
        self._world.disks.cuts.add(pair)
        self._for_a_while(lambda: self._world.disks.cuts.discard(pair))

    # -- disks ---------------------------------------------------------------------------------

    def _fill_disk(self) -> None:
        executor = self._any_executor()
        if executor is not None:
            disk, dice = executor.disk, self._world.dice
            disk.full.update(dice.choices(disk.directories, k=2))  # one, or both
            self._for_a_while(disk.full.clear)

    def _spoil_disk(self) -> None:
        """One that is bad stays so, and another is good."""
        executor = self._any_executor()
        if executor is not None and not executor.disk.bad:
            executor.disk.bad.add(self._world.dice.choice(executor.disk.directories))

    def _any_file(self) -> tuple[SimExecutor, BlockFile] | None:
        written = [
            (executor, file)
            for executor in self._world.executors_alive()
            for file in executor.disk.files.values()
        ]
        return self._world.dice.choice(written) if written else None

    def _corrupt_block(self) -> None:
        found = self._any_file()
        if found is not None:
            found[1].corrupt = True

    def _lose_block(self) -> None:
        found = self._any_file()
        if found is not None:
            files = found[0].disk.files
            for attempt in [a for a, file in files.items() if file is found[1]]:
                del files[attempt]
