"""A cluster whose executors are far from each other and from their scheduler: a proxy on every way."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flowgrid_executor.template_process import DEFAULT_RUNNER

from tests.cluster.census import Premises
from tests.cluster.proxy import Proxy, free_port
from tests.cluster.standalone import as_flags, child, scheduler_process

OTHER_HOST = Path(__file__).with_name("other_host.py")


@dataclass(frozen=True)
class Distant:
    """By executor: its way to the scheduler, and the way to its blocks. Drivers go by `address`."""

    address: str
    executors: tuple[subprocess.Popen[str], ...]
    control: tuple[Proxy, ...]
    data: tuple[Proxy, ...]


@contextlib.contextmanager
def distant(
    premises: Premises,
    executors: int = 2,
    conf: Mapping[str, str] | None = None,
    program: Sequence[str] = (str(OTHER_HOST),),
    runner: str = DEFAULT_RUNNER,
) -> Iterator[Distant]:
    """One slot per executor, each as on a host of its own: it is a `program`, its slots a `runner`."""
    settings = as_flags(conf)
    with contextlib.ExitStack() as opened:
        _, address = opened.enter_context(scheduler_process(premises, settings))
        control, data, processes = [], [], []
        for number in range(1, executors + 1):
            port = free_port()
            control.append(opened.enter_context(Proxy(int(address.rpartition(":")[2]))))
            data.append(opened.enter_context(Proxy(port)))
            flags = [f"host-{number}", f"tcp://127.0.0.1:{data[-1].port}"]
            flags += ["--scheduler", f"tcp://127.0.0.1:{control[-1].port}", *settings]
            flags += ["--bind", f"tcp://127.0.0.1:{port}", "--slots", "1"]
            flags += ["--name", f"executor-{number}", "--runner", runner]
            executor = child(premises, *program, *flags)
            processes.append(opened.enter_context(executor))
        yield Distant(address, tuple(processes), tuple(control), tuple(data))
