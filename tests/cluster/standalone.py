"""A cluster that outlives its drivers: a scheduler on a TCP port, and executors that know it."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flowgrid_executor.template_process import DEFAULT_RUNNER

from tests.cluster.census import Premises

END_S = 10.0


@dataclass
class Standalone:
    """`address` is the scheduler's, for drivers."""

    address: str
    scheduler: subprocess.Popen[str]
    executors: tuple[subprocess.Popen[str], ...]
    start_executor: Callable[[str], subprocess.Popen[str]]
    """Another one, of this name."""
    _start_scheduler: Callable[[], subprocess.Popen[str]]
    _temporary: Path

    def restart_scheduler(self) -> None:
        """Another one, at the same address and on the same state directory."""
        self.scheduler.wait(END_S)
        self.scheduler = self._start_scheduler()

    def kill_executor(self, number: int) -> None:
        """The first one is 1. Whoever kills an executor removes its folder."""
        self.executors[number - 1].kill()
        self.executors[number - 1].wait()
        for folder in self._temporary.glob(f"flowgrid-executor-{number}-*"):
            shutil.rmtree(folder)


@contextlib.contextmanager
def standalone(
    premises: Premises,
    executors: int = 2,
    conf: Mapping[str, str] | None = None,
    runner: str = DEFAULT_RUNNER,
) -> Iterator[Standalone]:
    """Start a cluster on loopback, one slot per executor, which runs each attempt with `runner`; it
    ends, in good order, with the block."""
    settings = as_flags(conf)
    with contextlib.ExitStack() as children:
        scheduler, address = children.enter_context(scheduler_process(premises, settings))

        def start(name: str) -> subprocess.Popen[str]:
            flags = ("--scheduler", address, "--slots", "1", "--name", name, "--runner", runner)
            command = ("-m", "flowgrid_executor", *flags, *settings)
            return children.enter_context(child(premises, *command))

        def start_scheduler() -> subprocess.Popen[str]:
            return children.enter_context(scheduler_process(premises, settings, address))[0]

        names = [f"executor-{number}" for number in range(1, executors + 1)]
        processes = tuple(map(start, names))
        yield Standalone(address, scheduler, processes, start, start_scheduler, premises.folder)


def as_flags(conf: Mapping[str, str] | None) -> list[str]:
    return [word for name, value in (conf or {}).items() for word in ("--conf", f"{name}={value}")]


@contextlib.contextmanager
def scheduler_process(
    premises: Premises, settings: Sequence[str], bind: str = "tcp://127.0.0.1:0"
) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A scheduler on a TCP port of the loopback interface, and its address."""
    state = premises.folder.parent / "state"
    flags = ("--bind", bind, "--state-dir", str(state), *settings)
    with child(premises, "-m", "flowgrid_scheduler", *flags) as scheduler:
        assert scheduler.stdout is not None
        yield scheduler, json.loads(scheduler.stdout.readline())["control"]


@contextlib.contextmanager
def child(premises: Premises, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process with these arguments; asked to end with the block."""
    log: Path = premises.folder.parent / "children.log"
    with log.open("a", encoding="utf-8") as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            env=premises.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(END_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
