"""`recovery`: what the loss of one of two executors costs, and how soon it is noticed.

A query runs undisturbed on two executors and on one; then on two, of which one is killed half-way. The
other does what is left: with nothing lost that would take half of the first time and half of the second.
What only the killed executor held is done again: at most what it had done, half of the first time. So
the cost of recovery itself is what goes beyond these bounds.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import psutil
import pyarrow as pa

import flowgrid as fg
from benchmarks import datasets, options, recordings
from benchmarks.answers import AnswersDiffer, require_equal, sort_columns
from benchmarks.harness import machine_facts, median
from benchmarks.recordings import Measurement, Recording
from benchmarks.tasks import idle_cluster
from benchmarks.tpch import texts as tpch

LOOK_INTERVAL_S = 0.005
NOTICE_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Run:
    seconds: float
    answer: pa.Table
    struck: bool = False


def timed(
    tables: Mapping[str, Path],
    sql: str,
    executors: int,
    conf: Mapping[str, object],
    kill_after_s: float = 0,
) -> Run:
    """One query in a cluster of its own; with a time, an executor is killed so long after its start."""
    with fg.connect(f"local-cluster[{executors},1,2048]", conf=conf) as session:
        for table, path in tables.items():
            session.register(table, session.read_parquet(str(path)))
        session.sql(sql).collect()  # files are cached, slots are warm
        victim = _executors_of_this_process()[-1]
        killer = threading.Timer(kill_after_s, victim.kill)
        start = time.perf_counter()
        if kill_after_s:
            killer.start()
        try:
            answer = session.sql(sql).collect()
            seconds = time.perf_counter() - start
        finally:
            killer.cancel()
        return Run(seconds, answer, bool(kill_after_s) and seconds > kill_after_s)


def _disturbed(
    tables: Mapping[str, Path], sql: str, conf: Mapping[str, object], kill_after_s: float
) -> Run:
    """A run in which an executor was killed: sooner, if the query was over before."""
    run = timed(tables, sql, 2, conf, kill_after_s)
    return run if run.struck else _disturbed(tables, sql, conf, kill_after_s / 2)


def _executors_of_this_process() -> list[psutil.Process]:
    children = psutil.Process(os.getpid()).children()
    return [child for child in children if "flowgrid_executor" in child.cmdline()]


def run_query(
    tables: Mapping[str, Path], number: int, conf: Mapping[str, object], repeat: int
) -> Measurement:
    """One TPC-H query, undisturbed and disturbed, in turn."""
    sql = tpch.query_text(number)
    on_two: list[float] = []
    on_one: list[float] = []
    disturbed: list[float] = []
    verdict = ""
    for _ in range(repeat):
        undisturbed = timed(tables, sql, 2, conf)
        on_two.append(undisturbed.seconds)
        on_one.append(timed(tables, sql, 1, conf).seconds)
        after = _disturbed(tables, sql, conf, median(on_two) / 2)
        disturbed.append(after.seconds)
        try:
            require_equal(after.answer, undisturbed.answer, sort_columns(sql))
        except AnswersDiffer as difference:
            verdict = f"wrong: {difference}"
    nothing_lost = (median(on_two) + median(on_one)) / 2
    all_lost = nothing_lost + median(on_two) / 2
    figures = {
        "undisturbed_s": median(on_two),
        "on_one_executor_s": median(on_one),
        "nothing_lost_s": nothing_lost,
        "all_it_held_lost_s": all_lost,
    }
    figures["beyond_all_lost_percent"] = 100 * (median(disturbed) / all_lost - 1)
    return Measurement(
        f"Q{number}, one of two killed", "flowgrid", disturbed, verdict, figures=figures
    )


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
    """The loss of one of two executors half-way. Exits with 1 if an answer is wrong."""
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
