"""The programs that the cluster runs itself, each with its driver and what that printed last.

::

    WAITING ──an executor is told to start a driver──▶ RUNNING ──it ends by itself──▶ SUCCEEDED, FAILED
       ▲                                                 │  └──cancelled──▶ CANCELLED
       └──────── its process is killed, or its executor lost; a few times, then ──▶ FAILED
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

import msgspec

from flowgrid.config import KIB, Config
from flowgrid.ids import DriverId, ProgramId
from flowgrid.protocol.programs import Output, ProgramSpec, ProgramState, ProgramStatus

OUTPUT_KEPT_BYTES = 512 * KIB
"""Of what each program printed: more than its driver may be ahead of whoever reads."""

READER_BEHIND_BYTES_MAX = 128 * KIB
"""A driver whose output is read is held up by its reader, so that nothing is missed."""

READER_PATIENCE_S = 10.0
"""A reader that has not asked for so long does not hold up anybody."""


class PrintedOutput:
    """The last bytes that the drivers of one program printed, in order."""

    def __init__(self) -> None:
        self._pieces: deque[Output] = deque()
        self._bytes = 0
        self.printed = 0
        """Bytes that the present driver has printed."""
        self.taken = 0
        """How many of them the driver's executor was told to be taken."""
        self._read = (0, 0)
        self._read_s = float("-inf")

    def begin_driver(self) -> None:
        """Another driver prints from here on."""
        self.printed = self.taken = 0

    def add(self, piece: Output) -> None:
        """What comes twice is there once."""
        if piece.end <= self.printed:
            return
        piece = _after(piece, self.printed)
        self._pieces.append(piece)
        self._bytes += len(piece.data)
        self.printed = piece.end
        while self._bytes > OUTPUT_KEPT_BYTES:
            self._bytes -= len(self._pieces.popleft().data)

    def read_after(self, driver: int, offset: int, awake_s: float) -> tuple[Output, ...]:
        """All that is there after byte `offset` of a driver; the reader has what is before."""
        self._read, self._read_s = (driver, offset), awake_s
        found = [piece for piece in self._pieces if _ends_after(piece, driver, offset)]
        if found and found[0].driver.number == driver:
            found[0] = _after(found[0], offset)
        return tuple(found)

    def may_be_taken(self, driver: int, awake_s: float) -> bool:
        """Whether something was printed that is not taken, and nobody who reads is too far behind."""
        if self.printed == self.taken:
            return False
        if awake_s - self._read_s > READER_PATIENCE_S:
            return True
        read = self._read[1] if self._read[0] == driver else 0
        return self.printed - read <= READER_BEHIND_BYTES_MAX

    def last(self, limit_bytes: int) -> tuple[Output, ...]:
        """The last pieces, up to so many bytes."""
        found: list[Output] = []
        for piece in reversed(self._pieces):
            limit_bytes -= len(piece.data)
            if limit_bytes < 0:
                break
            found.append(piece)
        return tuple(reversed(found))

    def restore(self, pieces: tuple[Output, ...]) -> None:
        """What an earlier scheduler has kept of a program that has ended."""
        for piece in pieces:
            self._pieces.append(piece)
            self._bytes += len(piece.data)

    def fingerprint(self) -> list[object]:
        pieces = [[str(p.driver), p.offset, p.data, p.error] for p in self._pieces]
        return [pieces, self.printed, self.taken]


def _ends_after(piece: Output, driver: int, offset: int) -> bool:
    return (piece.driver.number, piece.end) > (driver, offset)


def _after(piece: Output, offset: int) -> Output:
    """The part of a piece that does not lie before `offset`."""
    surplus = max(0, offset - piece.offset)
    return msgspec.structs.replace(piece, offset=piece.offset + surplus, data=piece.data[surplus:])


class Program:
    """One submitted program."""

    def __init__(
        self, id_: ProgramId, token: str, name: str, config: Config, spec: ProgramSpec | None
    ) -> None:
        self.id = id_
        self.token = token
        """The submitter's own name for it: a submission that comes twice is one program."""
        self.name = name
        self.config = config
        self.spec = spec
        """Until it has ended."""
        self.state = ProgramState.WAITING
        self.waits_since_s = 0.0
        self.drivers = 0
        """How many were started."""
        self.deaths = 0
        self.executor = -1
        """The index of the one that runs its driver, or has run the last one."""
        self.executor_name = ""
        self.exit_code: int | None = None
        self.text = ""
        """For people: why it waits, or how it ended."""
        self.output = PrintedOutput()

    @property
    def driver(self) -> DriverId:
        """The one that runs, or ran last."""
        return DriverId(self.id.number, self.drivers - 1)

    @property
    def resume_name(self) -> str:
        """Under which a driver finds what the one before it has done: its own, if it has one."""
        return self.config.resume_name or self.own_resume_name

    @property
    def own_resume_name(self) -> str:
        return f"{self.id}-{self.token[:8]}"

    def runs(self, driver: DriverId) -> bool:
        """Whether this is its driver now, and not one of the past."""
        return self.state is ProgramState.RUNNING and driver == self.driver

    def status(self, output: tuple[Output, ...] = ()) -> ProgramStatus:
        return ProgramStatus(
            self.id,
            self.name,
            self.state,
            self.drivers - 1,
            self.executor_name,
            self.text,
            self.exit_code,
            output,
        )

    def fingerprint(self) -> list[object]:
        numbers = [self.id.number, self.drivers, self.deaths, self.executor, self.exit_code]
        texts = [self.token, self.name, self.state, self.executor_name, self.text]
        return [numbers, texts, self.waits_since_s, self.spec is None, self.output.fingerprint()]


class Programs:
    """All of them, by number; those that have ended for a while."""

    def __init__(self) -> None:
        self.known: dict[int, Program] = {}
        self.waiting: dict[int, Program] = {}

    def running(self) -> Iterator[Program]:
        return (one for one in self.known.values() if one.state is ProgramState.RUNNING)

    def on(self, executor: int) -> list[Program]:
        """Those whose drivers an executor runs."""
        return [one for one in self.running() if one.executor == executor]

    def of(self, driver: DriverId) -> Program | None:
        """The program that this driver runs, if it still does."""
        program = self.known.get(driver.program)
        return program if program is not None and program.runs(driver) else None

    def fingerprint(self) -> list[object]:
        return [[one.fingerprint() for one in self.known.values()], list(self.waiting)]
