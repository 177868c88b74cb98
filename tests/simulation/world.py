"""The whole cluster in one thread, from one seed."""

from __future__ import annotations

import dataclasses
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from functools import partial

from flowgrid_executor.slot_protocol import RunAttempt
from flowgrid_scheduler.job_log import Kind

from flowgrid.config import Config
from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.protocol.failures import FailureKind
from flowgrid.protocol.job_graph import ExecutorAddress
from flowgrid.protocol.messages import AttemptFailed
from tests.simulation.disks import Disks, StagedFile
from tests.simulation.drivers import SimDriver
from tests.simulation.executors import SimExecutor
from tests.simulation.faults import Fault, Faults
from tests.simulation.network import Network
from tests.simulation.programs import Program, ProgramMaker
from tests.simulation.schedulers import MemoryLog, Moment, SimScheduler
from tests.simulation.timeline import Timeline
from tests.simulation.weather import Weather
from tests.simulation.witness import Witness

CONFIG = Config.parse(
    {
        "executor.heartbeat_interval_s": 0.5,
        "executor.heartbeat_timeout_s": 3,
        "scheduler.no_executors_grace_s": 5,
        "scheduler.driver_lease_s": 4,
        "scheduler.roll_call_s": 2.5,
        "exclusion.duration_s": 2,
        "speculation.quantile": 0.5,
        "speculation.multiplier": 2,
        "speculation.run_s_min": 0.5,
    }
)
STORM_S = 6.0
"""How long faults go on at most."""

OUTLASTS_JOBS = 0.2
"""How often they go on when no job is left to be disturbed."""

ENDS_S = 120.0
"""When the faults have stopped, every job has ended after so long."""

FORGETS_S = 15.0
"""When all drivers are gone, nothing of them is left after so long."""

DOWN_S = (0.01, 0.3, 1.0, 3.5)
"""How long a scheduler that died is away. Executors give up after the last."""

TRACE = 400


@dataclasses.dataclass(frozen=True, slots=True)
class Size:
    """The most that there is of everything. What needs little to go wrong is found soonest where
    there is little."""

    executors: int
    drivers: int
    programs_each: int
    stages: int


SMALL = Size(executors=2, drivers=1, programs_each=1, stages=4)
LARGE = Size(executors=4, drivers=2, programs_each=2, stages=6)
SMALL_SHARE = 2 / 3


class World:
    """Everything there is: processes, connections, disks, and the dice that decide."""

    def __init__(self, seed: int, faults: Faults | None = None) -> None:
        self.seed = seed
        self.dice = random.Random(seed)
        self.faults = faults if faults is not None else Faults.drawn(self.dice)
        self.size = SMALL if self.dice.random() < SMALL_SHARE else LARGE
        self.config = CONFIG
        self.timeline = Timeline()
        self.network = Network(
            self.timeline,
            lambda: self.dice.random() * self.faults.delay_s,
            lambda: self.strikes(Fault.DUPLICATE),
        )
        self.disks = Disks()
        self.hosts = [f"host-{number}" for number in range(self.dice.randint(1, 3))]
        self.programs: list[Program] = []
        self.staging: list[dict[tuple[AttemptId, str], StagedFile]] = []
        self.executors: list[SimExecutor] = []
        self.drivers: list[SimDriver] = []
        self.trace: deque[tuple[float, str, object]] = deque(maxlen=TRACE)
        self.launched: set[tuple[ExecutorId, AttemptId]] = set()
        """By whatever scheduler: an incarnation belongs to one."""
        self.struck: set[Fault] = set()
        self.deaths: set[Moment] = set()
        """Of schedulers."""
        self._calm = False
        self._maker = ProgramMaker(self.dice)
        self._ran: Counter[tuple[ExecutorId, AttemptId]] = Counter()
        self.short_of_memory: set[tuple[ExecutorId, AttemptId]] = set()
        self.refused: defaultdict[tuple[ExecutorId, AttemptId], set[str]] = defaultdict(set)
        """The directories in which an attempt failed."""
        self.log = MemoryLog()
        self.witness = Witness()
        self.scheduler = SimScheduler(self, epoch=1)
        for _ in range(self.dice.randint(1, self.size.executors)):
            self.start_executor()

    # -- a schedule ----------------------------------------------------------------------------

    def run(self) -> None:
        """Storm, then calm: in the end everything has an answer, and nothing is left."""
        dice = self.dice
        weather = Weather(self)
        count = dice.randint(1, self.size.drivers)
        for number in range(count):
            start = dice.random() * STORM_S / 2 if number else 0.0
            self.timeline.after(start, partial(self._start_driver, f"driver-{number}"))
        outlasts_jobs = dice.random() < OUTLASTS_JOBS

        def is_over() -> bool:
            all_there = len(self.drivers) == count and not outlasts_jobs
            return all_there and not any([driver.busy for driver in self.drivers])

        self.timeline.run(until=STORM_S, unless=is_over)
        self._calm = True
        weather.clears()
        self._await("a job does not end", lambda: not any(d.busy for d in self.drivers), ENDS_S)
        self._serves_the_next_job()
        for driver in self.drivers:
            driver.close()
        self._await("something is left", lambda: not self.leftovers(), FORGETS_S)

    def _start_driver(self, name: str) -> None:
        programs = self.dice.randint(1, self.size.programs_each)
        self.drivers.append(SimDriver(self, name, programs, self.size.stages))

    def _serves_the_next_job(self) -> None:
        last = SimDriver(self, "last", program_count=1, stages_max=2)
        self.drivers.append(last)
        self._await("the last job does not end", lambda: not last.busy, ENDS_S)
        for job in last.jobs:
            excused = job.ended.startswith("failed: indeterminate") or last.lost
            assert job.ended == "succeeded" or excused, f"in calm weather: {job.ended}"

    def _await(self, complaint: str, condition: Callable[[], bool], within_s: float) -> None:
        self.timeline.run(self.timeline.now + within_s, unless=condition)
        assert condition(), f"{complaint}: {self.leftovers()}"

    def leftovers(self) -> list[str]:
        """What must be gone when no driver is there any more."""
        state = self.scheduler.core.state
        left = [f"session {name}" for name in state.sessions.open]
        left += [f"{job.id} of the scheduler" for job in state.jobs.values()]
        left += [f"turn of {job.id}" for job in state.rotation]
        left += [f"{key} in the log" for key in self.log.facts if key.kind > Kind.EXECUTOR]
        for known in state.executors.alive.values():
            left += [f"{attempt} on {known.id}" for attempt in known.attempts]
            left += [f"job {job} told to {known.id}" for job in known.told]
            left += [f"{known.id} has not left"] if known.departure is not None else []
        for executor in self.executors_alive():
            left += [f"{attempt} in {executor.directory}" for attempt in executor.disk.files]
            left += executor.leftovers()
        return left

    # -- who is there --------------------------------------------------------------------------

    def kill_scheduler(self) -> None:
        """Now or in its next turn; somebody watches it, and starts it again on its log."""
        if self.scheduler.alive:
            self.scheduler.kill(self.dice.choice(list(Moment)))

    def scheduler_died(self) -> None:
        self.note("scheduler", "died")
        self.timeline.after(self.dice.choice(DOWN_S), self._start_scheduler)

    def _start_scheduler(self) -> None:
        self.note("scheduler", "starts again")
        self.scheduler = SimScheduler(self, self.scheduler.identity.epoch + 1)

    def executors_alive(self) -> list[SimExecutor]:
        return [executor for executor in self.executors if executor.alive]

    def start_executor(self) -> None:
        name = f"e{len(self.executors)}"
        slots = self.dice.randint(1, 3)
        self.executors.append(SimExecutor(self, name, self.dice.choice(self.hosts), slots))

    def make_program(self, driver: ExecutorAddress, stages_max: int) -> Program:
        salted = self.faults.rate(Fault.UNSTABLE_STAGE)
        program = self._maker.make(len(self.programs), driver, salted, stages_max)
        if not program.deterministic:
            self.struck.add(Fault.UNSTABLE_STAGE)
        self.programs.append(program)
        self.staging.append({})
        return program

    # -- chance and memory ---------------------------------------------------------------------

    def strikes(self, fault: Fault) -> bool:
        """Whether a fault that comes by chance comes now."""
        rate = self.faults.rates.get(fault)
        if rate is None or self._calm or self.dice.random() >= rate:
            return False
        self.struck.add(fault)
        return True

    def check_run(self, executor: SimExecutor, request: RunAttempt) -> None:
        """An attempt runs where it was launched, once, and once more if it ran out of memory and for
        each disk that failed it; on no disk that has, or is known to be bad; and in memory that no
        other has at the same time."""
        attempt, directory, disk = request.attempt, request.directory, executor.disk
        run = executor.id, attempt
        chances = (run in self.short_of_memory) + len(self.refused[run])
        assert self._ran[run] <= chances, f"{attempt} runs twice"
        used_bytes = request.memory_bytes + executor.memory_in_use()
        assert used_bytes <= executor.memory_bytes, f"too little memory for {attempt}"
        self._ran[run] += 1
        assert directory not in self.refused[run], f"{attempt} fails again in {directory}"
        only = disk.excluded | {directory} >= set(disk.directories)
        assert only or directory not in disk.found_bad, f"{attempt} in {directory}, which is bad"
        assert (executor.id, attempt) in self.launched, f"{attempt} runs on {executor.id}"

    def check_failure(self, executor: SimExecutor, failed: AttemptFailed) -> None:
        """Disks fail an attempt only all together."""
        if failed.failure.kind in (FailureKind.DISK_FULL, FailureKind.DISK_BAD):
            tried = self.refused[executor.id, failed.attempt] | executor.disk.excluded
            assert tried >= set(executor.disk.directories), f"{failed.attempt} was given up"

    def note(self, who: str, what: object) -> None:
        self.trace.append((self.timeline.now, who, what))

    def story(self, lines: int) -> Sequence[str]:
        """The last things that happened."""
        return [f"{at:9.4f} {who:>10} {what}"[:300] for at, who, what in list(self.trace)[-lines:]]
