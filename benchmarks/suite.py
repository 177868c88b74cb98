"""The queries of a suite, FlowGrid against its peers, answers compared."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pyarrow as pa
from rich.console import Console
from rich.table import Table

from benchmarks.answers import AnswersDiffer, require_equal, sort_columns
from benchmarks.contestants import Contestant, Outcome, Seat, seated, threads_of
from benchmarks.harness import interleaved, median


@dataclass
class Result:
    """What one contestant did with one query. `verdict` is "" where its answer is right."""

    query: int
    contestant: str
    seconds: list[float]
    verdict: str = ""
    rows: int = 0
    answer: pa.Table | None = field(default=None, repr=False)

    def line(self) -> dict[str, object]:
        return {k: v for k, v in asdict(self).items() if k != "answer"}


def contestants(masters: Sequence[str], against: Sequence[str]) -> list[Contestant]:
    """FlowGrid on each master, and each peer once for every width that a master has."""
    ours = [Contestant("flowgrid", threads_of(master), master) for master in masters]
    widths = dict.fromkeys(contestant.threads for contestant in ours)
    return ours + [Contestant(peer, width) for peer in against for width in widths]


def run(
    data: Path,
    field_: Sequence[Contestant],
    texts: Mapping[int, str],
    repeat: int,
    console: Console,
) -> tuple[list[Result], dict[str, int]]:
    """All results, and the peak memory in bytes of each contestant's processes.

    `data` is a directory with a Parquet file per table, `texts` are the queries by number.
    """
    results: list[Result] = []
    with contextlib.ExitStack() as stack:
        seats = [stack.enter_context(seated(contestant, data)) for contestant in field_]
        for number, text in texts.items():
            console.print(f"[dim]query {number}[/dim]", highlight=False)
            results += _run_query(number, text, seats, repeat)
        return results, {str(seat.contestant): seat.memory_bytes_max for seat in seats}


def _run_query(number: int, text: str, seats: Sequence[Seat], repeat: int) -> list[Result]:
    last: dict[str, Outcome] = {}

    def ask(seat: Seat) -> float:
        last[str(seat.contestant)] = outcome = seat.ask(text)
        return outcome.seconds

    measures = {str(seat.contestant): lambda seat=seat: ask(seat) for seat in seats}
    seconds = interleaved(measures, repeat)
    results = [
        Result(number, name, seconds[name], last[name].error, answer=last[name].answer)
        for name in measures
    ]
    _judge(text, results)
    return results


def _judge(text: str, results: Sequence[Result]) -> None:
    """Compare every answer with the last contestant's: a peer, where there is one."""
    reference = results[-1].answer
    for result in results:
        if result.answer is None or reference is None:
            continue
        result.rows = result.answer.num_rows
        try:
            require_equal(result.answer, reference, sort_columns(text))
        except AnswersDiffer as difference:
            result.verdict = f"wrong: {difference}"


def report(
    title: str,
    field_: Sequence[Contestant],
    results: Sequence[Result],
    memory: dict[str, int],
    console: Console,
) -> None:
    """A row per query, a column per contestant, and the ratio to the first peer of the same width."""
    peers = {c.threads: str(c) for c in reversed(field_) if not c.master}
    by_cell = {(result.query, result.contestant): result for result in results}
    queries = list(dict.fromkeys(result.query for result in results))
    table = Table(title=f"{title}, seconds (median)", title_justify="left")
    table.add_column("query", justify="right")
    for contestant in field_:
        table.add_column(str(contestant), justify="right")
        if contestant.master and contestant.threads in peers:
            table.add_column("ratio", justify="right", style="bold")

    def add(label: str, cells: dict[str, float | None]) -> None:
        row = [label]
        for contestant in field_:
            ours = cells[str(contestant)]
            row.append("—" if ours is None else f"{ours:.3f}")
            if contestant.master and contestant.threads in peers:
                theirs = cells[peers[contestant.threads]]
                row.append("—" if ours is None or not theirs else f"{ours / theirs:.2f}")
        table.add_row(*row)

    names = [str(contestant) for contestant in field_]
    for number in queries:
        cells = {name: _seconds(by_cell[number, name]) for name in names}
        add(str(number), cells)
    answered = [n for n in queries if all(_seconds(by_cell[n, name]) for name in names)]
    table.add_section()
    add(
        f"sum of {len(answered)}",
        {name: sum(_seconds(by_cell[n, name]) or 0 for n in answered) for name in names},
    )
    console.print(table)
    for name in names:
        console.print(f"{name}: peak memory {memory[name] / 2**20:,.0f} MiB", highlight=False)
    for result in results:
        if result.verdict:
            console.print(
                f"query {result.query}, {result.contestant}: {result.verdict}", style="red"
            )


def _seconds(result: Result) -> float | None:
    """The median of the right answers; a wrong one has no speed."""
    return None if result.verdict else median(result.seconds)
