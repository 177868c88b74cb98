"""Kills processes at random while jobs run, and counts what must not be: wrong answers, hangs, litter.

One round is one driver (`benchmarks.chaos_driver`) with a cluster and an output folder of its own.
Slots, executors and the scheduler may die in the middle of a round, and its jobs must not notice; the
loss of all executors or of the driver ends it. Every choice comes from the seed; in the middle of
what it strikes does not, because the machine has its own time.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO
from uuid import uuid4

import click
import psutil

from benchmarks import datasets, harness, options
from benchmarks.answers import AnswersDiffer
from benchmarks.chaos_driver import Premises, what_is_there
from flowgrid.errors import ConnectError
from flowgrid.io.commit import resume
from flowgrid.submit.client import ask_status

MARK = "FLOWGRID_CHAOS_MARK"
MASTER = "local-cluster[3,1,1024]"
JOBS_PER_ROUND = 8
HANG_S = 60.0
"""A job that has not ended after so long hangs: the slowest takes a few seconds."""

LITTER_S = 10.0
STATUS_INTERVAL_S = 0.1

WEIGHTS = {"slot": 10, "executor": 5, "all executors": 1, "scheduler": 3, "driver": 1}
ENDS_ROUND = ("all executors", "driver")

KILLS_MAX = 1_000
LIMITS = {"executor": 2, "scheduler": 4}
"""Per round: one executor must be left to answer, and a local cluster's driver starts the scheduler five
times a minute at most."""


@dataclasses.dataclass
class Tally:
    """What was seen. `problems` is what must not be."""

    rounds: int = 0
    jobs: Counter[str] = dataclasses.field(default_factory=Counter)
    kills: Counter[str] = dataclasses.field(default_factory=Counter)
    failures: Counter[str] = dataclasses.field(default_factory=Counter)
    problems: Counter[str] = dataclasses.field(
        default_factory=lambda: Counter(dict.fromkeys(("wrong", "hang", "litter", "unexcused"), 0))
    )
    tasks: int = 0
    attempts: int = 0

    @property
    def rework_percent(self) -> float:
        """Attempts beyond one per task, as far as the scheduler was asked before the job ended."""
        return 100 * (self.attempts / self.tasks - 1) if self.tasks else 0.0

    def lines(self) -> list[str]:
        def counts(counter: Counter[str]) -> str:
            return ", ".join(f"{count} {what}" for what, count in counter.most_common()) or "none"

        return [
            f"rounds           {self.rounds}",
            f"jobs             {self.jobs.total()}: {counts(self.jobs)}",
            f"kills            {self.kills.total()}: {counts(self.kills)}",
            f"named failures   {counts(self.failures)}",
            f"wrong answers    {self.problems['wrong']}",
            f"hangs            {self.problems['hang']}",
            f"litter           {self.problems['litter']}",
            f"unexcused ends   {self.problems['unexcused']}",
            f"rework           {self.rework_percent:.1f} % of {self.tasks} tasks",
        ]

    def figures(self) -> dict[str, object]:
        """As plain data."""
        counters = {
            name: dict(getattr(self, name)) for name in ("jobs", "kills", "failures", "problems")
        }
        figures = {"rounds": self.rounds, "tasks": self.tasks, "attempts": self.attempts}
        return {**counters, **figures, "rework_percent": self.rework_percent}


def run(
    data: Path,
    seconds: float,
    seed: int,
    kinds: tuple[str, ...],
    kills_per_s: float,
    say: Callable[[str], None],
) -> Tally:
    """Rounds until the time is over; every problem is said when it is seen."""
    tally = Tally()
    ends_at = time.monotonic() + seconds
    with tempfile.TemporaryDirectory(prefix="fgchaos-") as work:
        answers = Path(work, "answers")
        Premises(data, answers, Path(work)).prepare()
        while time.monotonic() < ends_at:
            folder = Path(work, f"round-{tally.rounds}")
            place = Premises(data, answers, folder / "output")
            name = f"{seed}-{tally.rounds}"
            with _round(place, name, kinds, kills_per_s, tally, say) as one:
                one.play()
            tally.rounds += 1
    return tally


@contextlib.contextmanager
def _round(
    premises: Premises,
    seed: str,
    kinds: tuple[str, ...],
    kills_per_s: float,
    tally: Tally,
    say: Callable[[str], None],
) -> Iterator[_Round]:
    temporary = premises.output.parent / "tmp"
    temporary.mkdir(parents=True)
    one = _Round(premises, temporary, seed, kinds, kills_per_s, tally, say)
    try:
        yield one
        one.clear_up()
    finally:
        one.end()
        shutil.rmtree(temporary.parent)


class _Round:
    """One driver, from its start to the last trace of it."""

    def __init__(
        self,
        premises: Premises,
        temporary: Path,
        seed: str,
        kinds: tuple[str, ...],
        kills_per_s: float,
        tally: Tally,
        say: Callable[[str], None],
    ) -> None:
        self._premises = premises
        self._temporary = temporary
        self._seed = seed
        self._dice = random.Random(seed)
        self._kinds = kinds
        self._kills_per_s = kills_per_s
        self._tally = tally
        self._tell = say
        self._mark = uuid4().hex
        self._killed: list[str] = []
        self._progress: dict[tuple[int, int], tuple[int, int]] = {}
        self._lines: queue.SimpleQueue[dict[str, str] | None] = queue.SimpleQueue()
        self._stderr = (temporary.parent / "stderr").open("w+b")
        arguments = [MASTER, premises.data, premises.answers, premises.output, JOBS_PER_ROUND, seed]
        self._driver = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.chaos_driver", *map(str, arguments)],
            cwd=Path(__file__).parents[1],  # where our own package is
            env={**os.environ, MARK: self._mark, "TMPDIR": str(temporary)},
            stdout=subprocess.PIPE,
            stderr=self._stderr,
        )
        assert self._driver.stdout is not None
        self._reader = threading.Thread(target=self._read, args=(self._driver.stdout,), daemon=True)
        self._reader.start()

    def play(self) -> None:
        """Let the driver run its jobs, and kill meanwhile."""
        job, begun_at = "", time.monotonic()
        kill_at = time.monotonic() + self._pause_s()
        while True:
            try:
                line = self._lines.get(timeout=STATUS_INTERVAL_S)
            except queue.Empty:
                line = {}
            if line is None:
                break
            if "begins" in line:
                job, begun_at = line["begins"], time.monotonic()
            elif "ended" in line:
                self._judge(job, line)
                job = ""
            if job and time.monotonic() >= kill_at:
                self._strike()
                kill_at = time.monotonic() + self._pause_s()
            self._look()
            if time.monotonic() - begun_at > HANG_S:
                self._problem("hang", f"{job or 'a driver without a job'} for {HANG_S:g} s")
                return
        self._count_rework()
        if job and "driver" not in self._killed:
            self._problem("unexcused", f"the driver ended during {job}: {self._said()}")
        elif job:
            self._tally.jobs["of killed drivers"] += 1

    def clear_up(self) -> None:
        """What a round leaves is nothing, but for the staging place of a driver that was killed."""
        self._driver.wait(timeout=HANG_S)
        deadline = time.monotonic() + LITTER_S
        while (left := self._left()) and time.monotonic() < deadline:
            time.sleep(0.05)
        if left:
            self._problem("litter", f"{left}")
        output = self._premises.output
        try:
            if output.exists():
                resume(str(output))
            what_is_there(output, self._premises.data)
        except AnswersDiffer as error:
            self._problem("wrong", str(error))
        if (staging := output / "_flowgrid").exists():
            self._problem("litter", f"{staging} after its commits were resumed")

    def end(self) -> None:
        """Whatever is still there goes."""
        for process in self._processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._driver.wait()
        self._reader.join()
        assert self._driver.stdout is not None
        self._driver.stdout.close()
        self._stderr.close()

    # -- jobs ----------------------------------------------------------------------------------

    def _read(self, output: IO[bytes]) -> None:
        for line in output:
            self._lines.put(json.loads(line))
        self._lines.put(None)

    def _judge(self, job: str, line: dict[str, str]) -> None:
        self._tally.jobs[line["ended"]] += 1
        match line["ended"]:
            case "wrong":
                self._problem("wrong", f"{job}: {line['message']}")
            case "failed":
                self._tally.failures[line["kind"]] += 1
                if not self._excused(line["kind"]):
                    self._problem("unexcused", f"{job}: {line['kind']}: {line['message']}")

    def _excused(self, kind: str) -> bool:
        """Whether what was killed in this round explains a named failure."""
        match kind:
            case "no_executors":
                executors = self._killed.count("executor")
                return "all executors" in self._killed or executors >= 3
            case "poison":
                return self._killed.count("slot") + self._killed.count("executor") >= 3
        return False

    # -- kills ---------------------------------------------------------------------------------

    def _pause_s(self) -> float:
        return self._dice.expovariate(self._kills_per_s)

    def _strike(self) -> None:
        kind = self._dice.choices(self._kinds, [WEIGHTS[kind] for kind in self._kinds])[0]
        if any(end in self._killed for end in ENDS_ROUND):
            return
        victims = self._victims(kind)
        if not victims or self._killed.count(kind) >= LIMITS.get(kind, KILLS_MAX):
            return
        for victim in victims:
            with contextlib.suppress(psutil.NoSuchProcess):
                victim.kill()
        self._killed.append(kind)
        self._tally.kills[kind] += 1

    def _victims(self, kind: str) -> list[psutil.Process]:
        words = {process: _command_line(process) for process in self._processes()}
        executors = [p for p, line in words.items() if "flowgrid_executor" in line]
        match kind:
            case "slot":
                templates = {p.pid for p, line in words.items() if _is_template(line)}
                slots = [p for p in words if _parent(p) in templates]
                return slots and [self._dice.choice(slots)]
            case "executor":
                return executors and [self._dice.choice(executors)]
            case "all executors":
                return executors
            case "scheduler":
                return [p for p, line in words.items() if "flowgrid_scheduler" in line]
        return [psutil.Process(self._driver.pid)]

    def _processes(self) -> list[psutil.Process]:
        """Everything alive that this round has started, in the order of the process numbers."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            return bool(alive and process.environ().get(MARK) == self._mark)
        except (psutil.Error, OSError):
            return False

    # -- what is seen --------------------------------------------------------------------------

    def _look(self) -> None:
        """Ask the scheduler how far its jobs are, for the figure of rework."""
        with contextlib.suppress(ConnectError, StopIteration, OSError):
            control = next(self._temporary.glob("flowgrid-*/control"))
            for job in ask_status(f"ipc://{control}", None, STATUS_INTERVAL_S).jobs:
                for stage in job.stages:
                    if stage.attempts:
                        progress = (stage.tasks, max(stage.attempts, stage.tasks))
                        self._progress[job.job.number, stage.stage.number] = progress

    def _count_rework(self) -> None:
        self._tally.tasks += sum(tasks for tasks, _ in self._progress.values())
        self._tally.attempts += sum(attempts for _, attempts in self._progress.values())

    def _left(self) -> list[str]:
        files = [
            os.path.relpath(os.path.join(folder, name), self._temporary)
            for folder, folders, names in os.walk(self._temporary)
            for name in (*folders, *names)
        ]
        return [f"process {p.pid}" for p in self._processes()] + files

    def _problem(self, what: str, message: str) -> None:
        self._tally.problems[what] += 1
        self._tell(f"{what} in round {self._seed} after {self._killed}: {message}")

    def _said(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read()[-600:].decode(errors="replace")


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def _is_template(line: list[str]) -> bool:
    return "flowgrid_executor.template" in line


def _parent(process: psutil.Process) -> int:
    try:
        return int(process.ppid())
    except psutil.Error:
        return 0


@click.command("chaos")
@click.option("--minutes", default=1.0, show_default=True)
@click.option("--scale", default=0.2, show_default=True, help="1 is about 1 GB of text.")
@click.option("--seed", type=int, help="Of what is run and what is killed; random if not given.")
@click.option("--kills-per-s", default=2.0, show_default=True, help="Less on a busy machine.")
@click.option("--spare", multiple=True, type=click.Choice([*WEIGHTS]), help="Never killed.")
@options.json_file
def command(
    minutes: float,
    scale: float,
    seed: int | None,
    kills_per_s: float,
    spare: tuple[str, ...],
    json_file: Path | None,
) -> None:
    """Kill processes at random while jobs run. Exits with 1 for a wrong answer, a hang or litter."""
    seed = random.randrange(1 << 32) if seed is None else seed
    click.echo(f"seed {seed}")
    kinds = tuple(kind for kind in WEIGHTS if kind not in spare)
    tally = run(datasets.tpch(scale), 60 * minutes, seed, kinds, kills_per_s, click.echo)
    for line in tally.lines():
        click.echo(line)
    if json_file is not None:
        settings = {
            "minutes": minutes,
            "scale": scale,
            "seed": seed,
            "kills_per_s": kills_per_s,
            "spare": spare,
        }
        harness.write_json(json_file, "chaos", settings, [tally.figures()])
    if tally.problems.total():
        raise SystemExit(1)
