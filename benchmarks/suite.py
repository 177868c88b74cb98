"""The queries of a suite, FlowGrid beside its peers, answers compared."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pyarrow as pa
from rich.console import Console

from benchmarks.answers import AnswersDiffer, require_alike, sort_columns
from benchmarks.harness import interleaved
from benchmarks.recordings import Measurement, Record
from benchmarks.seats import Contestant, Limits, Outcome, Seat, seated, threads_of


@dataclass(frozen=True)
class Case:
    """A question to everybody: by its name, and as SQL in DuckDB's dialect."""

    name: str
    program: str
    sql: str


def contestants(masters: Sequence[str], against: Sequence[str]) -> list[Contestant]:
    """FlowGrid on each master, and each peer once for every width that a master has."""
    ours = [Contestant("flowgrid", threads_of(master), master) for master in masters]
    widths = dict.fromkeys(contestant.threads for contestant in ours)
    return ours + [Contestant(peer, width) for peer in against for width in widths]


def run(
    tables: Mapping[str, Path],
    field: Sequence[Contestant],
    cases: Sequence[Case],
    repeat: int,
    limits: Limits,
    console: Console,
    record: Record = lambda measurements: None,
) -> list[Measurement]:
    """Every contestant of the field with every case, in turn, over the same tables.

    What a case gave is recorded before the next one begins.
    """
    measurements: list[Measurement] = []
    with contextlib.ExitStack() as stack:
        seats = [stack.enter_context(seated(one, tables, limits)) for one in field]
        for case in cases:
            console.print(f"[dim]{case.name}[/dim]", highlight=False)
            found = _run_case(case, seats, repeat)
            record(found)
            measurements += found
    return measurements


def _run_case(case: Case, seats: Sequence[Seat], repeat: int) -> list[Measurement]:
    outcomes: dict[str, list[Outcome]] = {str(seat.contestant): [] for seat in seats}

    def ask(seat: Seat) -> float:
        mine = outcomes[str(seat.contestant)]
        if mine and mine[-1].verdict:  # it will not do better the next time
            return mine[-1].seconds
        mine.append(seat.ask(case.program, case.sql))
        return mine[-1].seconds

    interleaved({str(seat.contestant): partial(ask, seat) for seat in seats}, repeat)
    answers = {name: mine[-1].answer for name, mine in outcomes.items()}
    reference = _reference(answers)
    measurements = []
    for name, mine in outcomes.items():
        verdict = mine[-1].verdict or _difference(answers[name], reference, case.sql)
        measurements.append(
            Measurement(
                case.name,
                name,
                [outcome.seconds for outcome in mine],
                verdict,
                [outcome.cpu_seconds for outcome in mine],
                max(outcome.memory_bytes_max for outcome in mine),
                max(outcome.disk_bytes_max for outcome in mine),
            )
        )
    return measurements


def _reference(answers: Mapping[str, pa.Table | None]) -> pa.Table | None:
    """DuckDB's answer where it takes part; otherwise that of the first who has one."""
    there = {name: answer for name, answer in answers.items() if answer is not None}
    by_duckdb = [answer for name, answer in there.items() if name.startswith("duckdb")]
    return next(iter([*by_duckdb, *there.values()]), None)


def _difference(answer: pa.Table | None, reference: pa.Table | None, sql: str) -> str:
    if answer is None or reference is None:
        return ""
    try:
        require_alike(answer, reference, sort_columns(sql) if sql else ())
    except AnswersDiffer as difference:
        return f"wrong: {difference}"
    return ""
