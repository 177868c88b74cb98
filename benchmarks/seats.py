"""FlowGrid and its peers behind one face: each in a process of its own, asked one question at a time.

A process each, with an environment of its own, keeps them from warming each other's caches or sharing a
memory figure. They take turns, so that only one of them computes at any moment. The clock runs inside
the contestant (see `benchmarks.contestants.serve`), around the question and its whole answer.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlglot

from benchmarks.contestants.setup import Question, Setup
from benchmarks.harness import core_count
from benchmarks.peers import PEERS, python_of
from benchmarks.tree_watch import TreeWatch

ROOT = Path(__file__).parent.parent

START_TIMEOUT_S = 600.0
"""The first start on new data may have to copy it (see `benchmarks.contestants.daft`)."""

END_TIMEOUT_S = 30.0

_EXECUTORS = "flowgrid_executor"
"""In the command lines of FlowGrid's executors, whose memory is what the operator limits."""


@dataclass(frozen=True)
class Contestant:
    """`engine` is flowgrid or a peer; `master` says where FlowGrid runs, `threads` how wide both do."""

    engine: str
    threads: int
    master: str = ""

    def __str__(self) -> str:
        return f"flowgrid {self.master}" if self.master else f"{self.engine} × {self.threads}"

    @property
    def dialect(self) -> str:
        return PEERS[self.engine].dialect if self.engine in PEERS else ""


@dataclass(frozen=True)
class Limits:
    """What a contestant may use: `memory_bytes` is what it is told, over `memory_bytes_max` it is ended.

    0 is no limit.
    """

    timeout_s: float = 600.0
    memory_bytes: int = 0
    memory_bytes_max: int = 0


@dataclass(frozen=True)
class Outcome:
    """One question, answered or not.

    `verdict` is "" for an answer, "cannot" where the contestant has no way to say the question, and
    otherwise what became of it. Bytes are the largest seen in the meantime.
    """

    seconds: float
    answer: pa.Table | None = None
    verdict: str = ""
    cpu_seconds: float = 0.0
    memory_bytes_max: int = 0
    disk_bytes_max: int = 0


def threads_of(master: str) -> int:
    """The cores that a master string asks for."""
    if match := re.fullmatch(r"local-cluster\[(\d+),(\d+),\d+\]", master):
        return int(match[1]) * int(match[2])
    if match := re.fullmatch(r"local\[(\d+)\]", master):
        return int(match[1])
    return core_count()


class Seat:
    """A contestant that has started and waits for questions.

    One that died starts again; one that could not start tries once more with its first question.
    """

    def __init__(
        self, contestant: Contestant, tables: Mapping[str, Path], scratch: Path, limits: Limits
    ) -> None:
        self.contestant = contestant
        self._tables = {name: str(path) for name, path in tables.items()}
        self._folder = scratch
        self._limits = limits
        self._running: contextlib.ExitStack | None = None
        self._could_not_start = ""

    def ask(self, program: str, sql: str = "") -> Outcome:
        """The outcome of one question, the SQL of which is given in DuckDB's dialect."""
        try:
            self.start()
        except ContestantDied as error:
            self._could_not_start = str(error)
            return Outcome(0.0, verdict=f"does not start: {error}")
        self._watch.reset()
        answer = self._folder / "answer.arrow"
        question = Question(program, _translated(sql, self.contestant.dialect))
        request = {"program": question.program, "sql": question.sql, "answer": str(answer)}
        cpu_seconds = self._watch.cpu_seconds()
        try:
            self._send(request)
            reply = self._receive(self._limits.timeout_s)
        except ContestantDied as error:
            over = "ended: over its memory limit" if self._watch.over_limit else str(error)
            used = self._watch.bytes_max
            self.close()
            return Outcome(0.0, verdict=over, memory_bytes_max=used)
        verdict = reply.get("outcome", "")
        if verdict == "failed":
            verdict = reply["error"].replace(f"{ROOT}/", "")  # recorded: the same on every machine
        table = None
        if not verdict:
            with pa.OSFile(str(answer)) as file:
                table = pa.ipc.open_file(file).read_all()
            answer.unlink()
        return Outcome(
            reply["seconds"],
            table,
            verdict,
            self._watch.cpu_seconds() - cpu_seconds,
            self._watch.bytes_max,
            self._watch.disk_bytes_max,
        )

    def start(self) -> None:
        """Bring it up, if it is not; raises `ContestantDied`."""
        if self._running is not None:
            return
        if self._could_not_start:
            raise ContestantDied(self._could_not_start)
        python = python_of(self.contestant.engine)
        assert python is not None, "peers that are not installed do not get a seat"
        scratch = self._folder / "scratch"
        scratch.mkdir(
            parents=True, exist_ok=True
        )  # of one that died, something may still write there
        setup = Setup(
            self.contestant.engine,
            self.contestant.master,
            self.contestant.threads,
            self._limits.memory_bytes,
            self._tables,
            str(scratch),
        )
        with contextlib.ExitStack() as stack:
            stack.callback(shutil.rmtree, scratch, ignore_errors=True)
            errors = stack.enter_context((self._folder / "stderr").open("wb"))
            self._process = process = subprocess.Popen(
                [python, "-m", "benchmarks.contestants.serve", setup.to_json()],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=_environment(setup),
                cwd=scratch,
            )
            limit = self._limits.memory_bytes_max
            below = _EXECUTORS if limit and self.contestant.engine == "flowgrid" else ""
            self._watch = TreeWatch(process.pid, scratch, limit, below)
            stack.callback(self._end)
            stack.enter_context(self._watch)
            self._receive(START_TIMEOUT_S)
            self._running = stack.pop_all()

    def kill(self) -> None:
        """End it with all its processes, as a lack of memory would."""
        self._watch.kill()

    def close(self) -> None:
        if self._running is not None:
            running, self._running = self._running, None
            running.close()

    def _end(self) -> None:
        """Its input ends, so it leaves; what has not left in time is killed."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._watch.kill()
            process.wait()
        process.stdout.close()

    def _send(self, request: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise ContestantDied(self._last_words()) from None

    def _receive(self, timeout_s: float) -> dict[str, Any]:
        out = self._process.stdout
        assert out is not None
        with selectors.DefaultSelector() as selector:
            selector.register(out, selectors.EVENT_READ)
            if not selector.select(timeout_s):
                self._watch.kill()
                raise ContestantDied(f"ended: no answer within {timeout_s:g} s")
        line = out.readline()
        if not line:
            raise ContestantDied(self._last_words())
        reply: dict[str, Any] = json.loads(line)
        return reply

    def _last_words(self) -> str:
        said = (self._folder / "stderr").read_text(encoding="utf-8", errors="replace").split("\n")
        lines = [line for line in said if line.strip()]
        return f"died: {lines[-1] if lines else 'without a word'}"


class ContestantDied(Exception):
    """Its process ended, or was ended; the message is what it last said, or why it was."""


@contextlib.contextmanager
def seated(
    contestant: Contestant, tables: Mapping[str, Path], limits: Limits = Limits()
) -> Iterator[Seat]:
    """A contestant over these tables (Parquet files or folders of them); it ends with the block."""
    with tempfile.TemporaryDirectory(prefix="benchmark-", ignore_cleanup_errors=True) as folder:
        seat = Seat(contestant, tables, Path(folder), limits)
        with contextlib.suppress(ContestantDied):  # it is asked all the same, and says why
            seat.start()
        try:
            yield seat
        finally:
            seat.close()


def _environment(setup: Setup) -> dict[str, str]:
    """Everybody may use as many threads as it was given cores, and one folder for what it spills.

    Nobody tells its makers that it was used.
    """
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "TMPDIR": setup.scratch,
        "OMP_NUM_THREADS": str(setup.threads),
        "POLARS_MAX_THREADS": str(setup.threads),
        "POLARS_TEMP_DIR": setup.scratch,
        "RAYON_NUM_THREADS": str(setup.threads),
        "TOKIO_WORKER_THREADS": str(setup.threads),
        "DO_NOT_TRACK": "1",
        "SCARF_NO_ANALYTICS": "true",
        "DAFT_ANALYTICS_ENABLED": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }


@cache
def _translated(sql: str, dialect: str) -> str:
    if not sql or not dialect:
        return sql
    return sqlglot.transpile(sql, read="duckdb", write=dialect)[0]
