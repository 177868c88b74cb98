"""`recovery`: what the loss of one of two executors costs, and how soon it is noticed.

A query runs undisturbed on two executors of one slot; then, in turn, on two of which one is killed when
half of the undisturbed work is done. Nobody replaces it: half of the slots are gone, so seconds by the
clock say little. What is compared is slot-seconds, from the scheduler's record of events (`slot_time`):

* *work* is what slots ran, in vain or not; *slot time* is what slots there were to run on, busy or idle:
  two until the loss is noticed, one from then on. Waiting for a timeout is no work, but slot time.
* *lost* is what the killed executor had done and somebody still needed, and what ran there at the kill.
* *cost* is the run with the kill minus the undisturbed one; *beyond lost* is cost minus lost, as a part
  of the undisturbed run. More than 15 % of work or of slot time (medians) is a failure.

One slot has the machine's cores for itself where two shared them, which flatters the time after the
kill: CPU seconds of the attempts that succeeded are shown beside.
"""

from __future__ import annotations

import math
import os
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import click
import psutil
import pyarrow as pa
from flowgrid_scheduler.journal import read_journal

import flowgrid as fg
from benchmarks import datasets, options, recordings
from benchmarks.answers import AnswersDiffer, require_equal, sort_columns
from benchmarks.harness import machine_facts, median
from benchmarks.recordings import Measurement, Recording
from benchmarks.slot_time import Cost, JobRecord, read_job
from benchmarks.tasks import idle_cluster
from benchmarks.tpch import texts as tpch

LOOK_INTERVAL_S = 0.005
NOTICE_TIMEOUT_S = 60.0
SLOTS = 2
VICTIM = "executor-2"
BEYOND_LOST_PERCENT_MAX = 15.0


@dataclass(frozen=True)
class Run:
    record: JobRecord
    answer: pa.Table


def run_once(
    tables: Mapping[str, Path], sql: str, conf: Mapping[str, object], kill_after_work_s: float = 0
) -> Run:
    """One query in a cluster of its own; the victim is killed after so many slot-seconds of work, or
    never (0). Raises `RuntimeError` if the query was over before."""
    with tempfile.TemporaryDirectory(prefix="recovery-") as folder:
        settings = {**conf, "executor.local_dir": folder, "scheduler.record_events": True}
        killed_s = math.inf
        with fg.connect("local-cluster[2,1,2048]", conf=settings) as session:
            for table, path in tables.items():
                session.register(table, session.read_parquet(str(path)))
            session.sql(sql).collect()  # files are cached, slots are warm
            # Not searched deeper: executors remove what is in their folders meanwhile.
            (journal,) = Path(folder).glob("flowgrid-*/*.journal")
            warm_up = read_job(read_journal(journal), VICTIM).submitted_s
            with ThreadPoolExecutor(1) as beside:
                answer = beside.submit(session.sql(sql).collect)
                while kill_after_work_s and not answer.done() and killed_s == math.inf:
                    so_far = read_job(read_journal(journal), VICTIM)
                    if so_far.submitted_s > warm_up and so_far.work_s >= kill_after_work_s:
                        killed_s = time.monotonic()  # the scheduler's clock, too
                        _executor_of_this_process(VICTIM).kill()
                    time.sleep(LOOK_INTERVAL_S)
                table_of_all = answer.result()
            record = read_job(read_journal(journal), VICTIM, killed_s)
    if kill_after_work_s and record.lost_s is None:
        raise RuntimeError("the query was over before half of its work was done: try more data")
    return Run(record, table_of_all)


def _executor_of_this_process(name: str) -> psutil.Process:
    children = psutil.Process(os.getpid()).children()
    return next(child for child in children if name in child.cmdline())


def run_query(
    tables: Mapping[str, Path], number: int, conf: Mapping[str, object], repeat: int
) -> Measurement:
    """One TPC-H query, undisturbed and disturbed, in turn; its seconds are those of disturbed work."""
    sql = tpch.query_text(number)
    calm: list[JobRecord] = []
    struck: list[JobRecord] = []
    verdict = ""
    for _ in range(repeat):
        undisturbed = run_once(tables, sql, conf)
        calm.append(undisturbed.record)
        half = median([one.work_s for one in calm]) / 2
        disturbed = run_once(tables, sql, conf, half)
        struck.append(disturbed.record)
        try:
            require_equal(disturbed.answer, undisturbed.answer, sort_columns(sql))
        except AnswersDiffer as difference:
            verdict = f"wrong: {difference}"
    figures = figures_of(calm, struck)
    beyond = max(figures["work_beyond_lost_percent"], figures["slot_time_beyond_lost_percent"])
    if not verdict and beyond > BEYOND_LOST_PERCENT_MAX:
        verdict = f"costs {beyond:.0f} % beyond the lost work, not {BEYOND_LOST_PERCENT_MAX:g} %"
    seconds = [one.work_s for one in struck]
    return Measurement(
        f"Q{number}, one of two killed", "flowgrid", seconds, verdict, figures=figures
    )


def figures_of(calm: Sequence[JobRecord], struck: Sequence[JobRecord]) -> dict[str, float]:
    """Medians, in slot-seconds, of runs in turn."""
    slots_after = SLOTS - 1
    lost = [one.thrown_away_s + one.lost_work_s(VICTIM) for one in struck]
    work = Cost.of([one.work_s for one in calm], [one.work_s for one in struck], lost)
    slot_time = Cost.of(
        [one.slot_time_s(SLOTS, slots_after) for one in calm],
        [one.slot_time_s(SLOTS, slots_after) for one in struck],
        lost,
    )
    cpu = Cost.of(
        [one.cpu_s for one in calm],
        [one.cpu_s for one in struck],
        [sum(success.cpu_s for success in one.lost_successes(VICTIM)) for one in struck],
    )
    return {
        "undisturbed_work_s": work.undisturbed_s,
        "lost_work_s": work.lost_s,
        "cost_in_work_s": work.cost_s,
        "work_beyond_lost_percent": work.beyond_lost_percent,
        "undisturbed_slot_time_s": slot_time.undisturbed_s,
        "cost_in_slot_time_s": slot_time.cost_s,
        "slot_time_beyond_lost_percent": slot_time.beyond_lost_percent,
        "CPU_beyond_lost_percent": cpu.beyond_lost_percent,
        "needless_attempts": float(max(one.needless(VICTIM) for one in struck)),
    }


def noticed(how: signal.Signals) -> float:
    """Seconds from a signal to an executor until the scheduler counts it out."""
    with idle_cluster() as cluster:
        cluster.run(len(cluster.executors))
        name, victim = next(iter(cluster.executors.items()))
        victim.send_signal(how)
        start = time.perf_counter()
        while name in {one.executor.name for one in cluster.client.status().executors}:
            if time.perf_counter() - start > NOTICE_TIMEOUT_S:
                raise TimeoutError(f"{name} was not missed within {NOTICE_TIMEOUT_S:g} s")
            time.sleep(LOOK_INTERVAL_S)
        return time.perf_counter() - start


@click.command("recovery")
@click.option("--scale", default=1.0, show_default=True)
@click.option("--queries", default="9,18", show_default=True)
@options.repeat(3)
@options.json_file
def command(scale: float, queries: str, repeat: int, json_file: Path | None) -> None:
    """The loss of one of two executors. Exits with 1 if it costs too much, or an answer is wrong."""
    tables = datasets.tables_in(datasets.tpch(scale))
    conf = {"planner.force_exchanges": "true"}
    measurements = [run_query(tables, int(n), conf, repeat) for n in queries.split(",")]
    for how, name in ((signal.SIGKILL, "killed"), (signal.SIGSTOP, "silent")):
        seconds = [noticed(how) for _ in range(repeat)]
        measurements.append(Measurement(f"a {name} executor is missed", "flowgrid", seconds))
    settings = {"scale": scale, "repeat": repeat}
    recording = Recording("recovery", machine_facts(), settings, measurements)
    options.show(recording, options.console())
    recordings.write(json_file, "recovery", settings, measurements)
    options.exit_if_wrong(measurements)
