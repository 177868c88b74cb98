"""`python -m benchmarks.contestants.serve SETUP`: one contestant, asked by JSON lines.

In: {"program", "sql", "answer"}; out: {"seconds", "rows"} or {"seconds", "outcome", "error"}, where
outcome is "cannot" or "failed". The answer is written as an Arrow file to the path in "answer". The
clock runs around the question and its whole answer in memory, not around that file.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from typing import Any, TextIO

import pyarrow as pa

from benchmarks.contestants.setup import Ask, Enter, NotExpressed, Question, Setup


def main(setup: Setup) -> None:
    answers = _private_stdout()
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cores[: setup.threads])
    enter: Enter = import_module(f"benchmarks.contestants.{setup.contestant}").enter
    with enter(setup) as ask:
        _say(answers, {"ready": True})
        for request in _requests():
            _say(answers, _outcome(ask, Question(request["program"], request["sql"]), request))


def _outcome(ask: Ask, question: Question, request: dict[str, Any]) -> dict[str, Any]:
    start = time.perf_counter()
    try:
        answer = ask(question)
    except Exception as error:  # a question that fails is a result of the benchmark, not its end
        seconds = time.perf_counter() - start
        outcome = "cannot" if isinstance(error, NotExpressed) else "failed"
        said = f"{type(error).__name__}: {error}"
        return {"seconds": seconds, "outcome": outcome, "error": said[:2000]}
    seconds = time.perf_counter() - start
    with pa.OSFile(request["answer"], "wb") as file, pa.ipc.new_file(file, answer.schema) as sink:
        sink.write_table(answer)
    return {"seconds": seconds, "rows": answer.num_rows}


def _requests() -> Iterator[dict[str, Any]]:
    # Not by iterating over the file, which reads ahead and would wait for a second line.
    while line := sys.stdin.readline():
        yield json.loads(line)


def _private_stdout() -> TextIO:
    """Our answers go where nobody else prints: standard output of the peer becomes its errors."""
    ours = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return ours


def _say(answers: TextIO, what: dict[str, Any]) -> None:
    answers.write(json.dumps(what) + "\n")
    answers.flush()


if __name__ == "__main__":
    main(Setup.from_json(sys.argv[1]))
