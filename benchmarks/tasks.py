"""`tasks`: what a task costs when there is nothing to do.

Through the scheduler's core alone, end to end with two executors whose slots answer at once
(`benchmarks.no_op_runner`), one at a time, and as the two stages of a shuffle, whose blocks the
scheduler must keep account of. The core's figure has no sockets and no codec in it: executors that
need no time answer every launch, so it is the processor time of one core.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import psutil
from flowgrid_scheduler.actions import Action, SendToExecutor
from flowgrid_scheduler.cluster import ClusterIdentity
from flowgrid_scheduler.core import SchedulerCore

from benchmarks import options, recordings
from benchmarks.harness import machine_facts
from benchmarks.recordings import Measurement, Recording
from benchmarks.seats import ROOT
from flowgrid.config import Config
from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.protocol.compatibility import Versions
from flowgrid.protocol.job_graph import (
    ExecutorAddress,
    OutputKind,
    Slice,
    StageInput,
    StageSpec,
)
from flowgrid.protocol.messages import (
    AttemptStarted,
    AttemptSucceeded,
    DriverEnvelope,
    ExecutorEnvelope,
    FromExecutor,
    JobFailed,
    JobSucceeded,
    LaunchAttempts,
    OpenSession,
    RegisterExecutor,
    SubmitJob,
)
from flowgrid.protocol.reports import AttemptReport
from flowgrid.submit.client import JobClient

VERSIONS = Versions(1, "", "", "", "")
REPORT = AttemptReport((), (1,), (8,), 7)
EXECUTORS = 2
ROUND_TRIPS = 200
SHUFFLE_WIDTH = 4_096


def core_seconds(tasks: int, executors: int, slots: int) -> float:
    """Processor seconds of the core alone, for one stage of so many tasks on so many executors."""
    core = SchedulerCore(Config(), ClusterIdentity(1, VERSIONS))
    sent: dict[ExecutorId, int] = {}
    for number in range(executors):
        id_ = ExecutorId(f"executor-{number}", number)
        address = ExecutorAddress(id_, "host", "/blocks", "tcp://127.0.0.1:1")
        register = RegisterExecutor(address, slots, 1 << 30, VERSIONS)
        core.handle(ExecutorEnvelope(id_, 0, (register,)), 0.0)
        sent[id_] = 1
    core.handle(DriverEnvelope("driver", 0, (OpenSession("driver", "", VERSIONS),)), 0.0)
    stage = StageSpec(0, "no-op", tasks, OutputKind.BLOCKS)

    started_at = time.process_time()
    actions = core.handle(DriverEnvelope("driver", 1, (SubmitJob(0, "", (stage,), True),)), 0.0)
    done = 0
    while done < tasks:
        launched = _launched(actions)
        actions = []
        for id_, attempts in launched.items():
            words: list[FromExecutor] = []
            for attempt in attempts:
                words += (AttemptStarted(attempt), AttemptSucceeded(attempt, REPORT))
            done += len(attempts)
            now = time.process_time() - started_at
            actions += core.handle(ExecutorEnvelope(id_, sent[id_], tuple(words)), now)
            sent[id_] += 1
    return time.process_time() - started_at


def _launched(actions: list[Action]) -> dict[ExecutorId, list[AttemptId]]:
    launched: dict[ExecutorId, list[AttemptId]] = {}
    for action in actions:
        if isinstance(action, SendToExecutor) and isinstance(action.message, LaunchAttempts):
            launched.setdefault(action.executor, []).extend(action.message.attempts)
    return launched


@dataclass
class IdleCluster:
    """A scheduler and its executors as processes of their own; tasks there do nothing."""

    client: JobClient
    scheduler: psutil.Process
    executors: dict[str, psutil.Process]

    def run(self, tasks: int) -> float:
        """Seconds from the submission of one stage to its job's success."""
        return self._run(StageSpec(0, "no-op", tasks, OutputKind.BLOCKS))

    def shuffle(self, width: int) -> float:
        """The same for two stages of so many tasks, each of which leaves something for every other."""
        slices = tuple(Slice(target, target + 1, 0, width) for target in range(width))
        maps = StageSpec(0, "maps", width, OutputKind.BLOCKS, width)
        inputs = (StageInput(0, slices),)
        return self._run(maps, StageSpec(1, "reduces", width, OutputKind.BLOCKS, inputs=inputs))

    def _run(self, *stages: StageSpec) -> float:
        start = time.perf_counter()
        job = self.client.submit("no-op", stages, complete=True)
        while not isinstance(event := job.next_event(), JobSucceeded):
            if isinstance(event, JobFailed):
                raise RuntimeError(f"{event.where}: {event.failure}")
        seconds = time.perf_counter() - start
        job.release()
        return seconds

    def scheduler_cpu_s(self) -> float:
        times = self.scheduler.cpu_times()
        return float(times.user + times.system)

    def scheduler_bytes_max(self) -> int:
        """The most memory that the scheduler has ever had."""
        status = Path(f"/proc/{self.scheduler.pid}/status").read_text()
        return int(status.partition("VmHWM:")[2].split()[0]) << 10


@contextlib.contextmanager
def idle_cluster(executors: int = EXECUTORS) -> Iterator[IdleCluster]:
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-"))
        flags = ["--bind", "tcp://127.0.0.1:0", "--state-dir", f"{folder}/state"]
        scheduler = stack.enter_context(_child("flowgrid_scheduler", *flags))
        assert scheduler.stdout is not None
        address = json.loads(scheduler.stdout.readline())["control"]
        started: dict[str, psutil.Process] = {}
        for name in (f"executor-{number}" for number in range(executors)):
            flags = ["--scheduler", address, "--slots", "1", "--name", name]
            flags += ["--directory", f"{folder}/{name}"]
            flags += ["--runner", "benchmarks.no_op_runner:run_attempt"]
            executor = stack.enter_context(_child("flowgrid_executor", *flags))
            started[name] = psutil.Process(executor.pid)
        client = stack.enter_context(JobClient.open(address, None, Config(), "benchmark"))
        client.wait_for_slots(executors)
        yield IdleCluster(client, psutil.Process(scheduler.pid), started)


@contextlib.contextmanager
def _child(module: str, *flags: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", module, *flags]
    paths = [str(ROOT), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]  # for the runner
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.send_signal(signal.SIGCONT)  # it may have been stopped


def run(
    tasks: int, round_trips: int = ROUND_TRIPS, shuffle_width: int = SHUFFLE_WIDTH
) -> list[Measurement]:
    """All four, with a stage of so many tasks, and a shuffle of so many by so many blocks."""
    core_s = core_seconds(tasks, 4, 16)
    measurements = [
        Measurement(
            f"{tasks:,} tasks",
            "the scheduler's core alone",
            [core_s],
            figures={"tasks_in_one_second": tasks / core_s},
        )
    ]
    with idle_cluster() as cluster:
        cluster.run(EXECUTORS)  # everybody is up and has run something
        cpu_s = cluster.scheduler_cpu_s()
        seconds = cluster.run(tasks)
        figures = {
            "tasks_in_one_second": tasks / seconds,
            "scheduler_CPU_s": cluster.scheduler_cpu_s() - cpu_s,
            "scheduler_memory_bytes": float(cluster.scheduler.memory_info().rss),
        }
        name = f"{EXECUTORS} executors, end to end"
        measurements.append(Measurement(f"{tasks:,} tasks", name, [seconds], figures=figures))
        trips = [cluster.run(1) for _ in range(round_trips)]
    measurements.append(
        Measurement(
            "a job of one task", f"median of {round_trips}", trips, figures={"lowest_s": min(trips)}
        )
    )
    return [*measurements, shuffle(shuffle_width)]


def shuffle(width: int) -> Measurement:
    """What the scheduler pays for the account of a shuffle's blocks."""
    with idle_cluster() as cluster:
        cluster.run(EXECUTORS)
        cpu_s, before = cluster.scheduler_cpu_s(), cluster.scheduler_bytes_max()
        seconds = cluster.shuffle(width)
        figures = {
            "scheduler_CPU_s": cluster.scheduler_cpu_s() - cpu_s,
            "scheduler_memory_bytes": float(cluster.scheduler_bytes_max()),
            "before_bytes": float(before),
        }
    name = f"{EXECUTORS} executors, end to end"
    return Measurement(f"{width:,} × {width:,} blocks", name, [seconds], figures=figures)


@click.command("tasks")
@click.option("--tasks", default=100_000, show_default=True)
@options.json_file
def command(tasks: int, json_file: Path | None) -> None:
    """Tasks that do nothing: how many a second, how soon one, and what the scheduler pays."""
    measurements = run(tasks)
    settings = {"tasks": tasks}
    recording = Recording("tasks", machine_facts(), settings, measurements)
    options.show(recording, options.console())
    recordings.write(json_file, "tasks", settings, measurements)
