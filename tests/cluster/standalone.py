"""A cluster that outlives its drivers: a scheduler on a TCP port, and executors that know it."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.census import Premises

END_S = 10.0


@dataclass(frozen=True)
class Standalone:
    """`address` is the scheduler's, for drivers."""

    address: str
    scheduler: subprocess.Popen[str]
    executors: tuple[subprocess.Popen[str], ...]


@contextlib.contextmanager
def standalone(premises: Premises, executors: int = 2) -> Iterator[Standalone]:
    """Start a cluster on loopback, one slot per executor; it ends, in good order, with the block."""
    state = premises.folder.parent / "state"
    with contextlib.ExitStack() as children:

        def start(module: str, *flags: str) -> subprocess.Popen[str]:
            return children.enter_context(_child(premises, module, *flags))

        scheduler = start(
            "flowgrid_scheduler", "--bind", "tcp://127.0.0.1:0", "--state-dir", str(state)
        )
        assert scheduler.stdout is not None
        address = json.loads(scheduler.stdout.readline())["control"]
        yield Standalone(
            address,
            scheduler,
            tuple(
                start("flowgrid_executor", "--scheduler", address, "--slots", "1", "--name", name)
                for name in (f"executor-{number}" for number in range(1, executors + 1))
            ),
        )


@contextlib.contextmanager
def _child(premises: Premises, module: str, *flags: str) -> Iterator[subprocess.Popen[str]]:
    log: Path = premises.folder.parent / f"{module}.log"
    with log.open("a", encoding="utf-8") as errors:
        child = subprocess.Popen(
            [sys.executable, "-m", module, *flags],
            env=premises.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        )
    with child:
        try:
            yield child
        finally:
            child.terminate()
            try:
                child.wait(END_S)
            except subprocess.TimeoutExpired:
                child.kill()
                raise
