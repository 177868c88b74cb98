"""`groupby-join`: the ten groupings and five joins of the db-benchmark, over tables of any size.

What a question gives is summed up, in every column, as that benchmark does to check it: so answers can
be compared, and no time goes into handing 10⁸ rows to somebody.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import click
import duckdb

from benchmarks import datasets, options, recordings, suite
from benchmarks.harness import machine_facts
from benchmarks.peers import chosen, versions
from benchmarks.seats import Limits
from benchmarks.suite import Case

GROUPS = 100
"""What the db-benchmark calls K: distinct values of the small keys."""

_CHECKED = "SELECT count(*) AS answer_rows, {sums} FROM ({query}) AS answer"


def _grouping(keys: str, values: str, names: str) -> tuple[str, str]:
    return f"SELECT {keys}, {values} FROM grouped GROUP BY {keys}", names


def _joined(how: str, table: str, on: str) -> tuple[str, str]:
    return f"SELECT v1, v2 FROM joined {how} {table} ON {on}", "v1 v2"


QUESTIONS: Mapping[str, tuple[str, str]] = {
    "sum v1 by id1": _grouping("id1", "sum(v1) AS v1", "v1"),
    "sum v1 by id1:id2": _grouping("id1, id2", "sum(v1) AS v1", "v1"),
    "sum v1 mean v3 by id3": _grouping("id3", "sum(v1) AS v1, avg(v3) AS v3", "v1 v3"),
    "mean v1:v3 by id4": _grouping(
        "id4", "avg(v1) AS v1, avg(v2) AS v2, avg(v3) AS v3", "v1 v2 v3"
    ),
    "sum v1:v3 by id6": _grouping("id6", "sum(v1) AS v1, sum(v2) AS v2, sum(v3) AS v3", "v1 v2 v3"),
    "median v3 sd v3 by id4 id5": _grouping(
        "id4, id5", "median(v3) AS median_v3, stddev_samp(v3) AS sd_v3", "median_v3 sd_v3"
    ),
    "max v1 - min v2 by id3": _grouping("id3", "max(v1) - min(v2) AS range_v1_v2", "range_v1_v2"),
    "largest two v3 by id6": (
        "SELECT id6, v3 FROM (SELECT id6, v3, row_number() OVER"
        " (PARTITION BY id6 ORDER BY v3 DESC) AS place FROM grouped) AS placed WHERE place <= 2",
        "v3",
    ),
    "regression v1 v2 by id2 id4": _grouping("id2, id4", "power(corr(v1, v2), 2) AS r2", "r2"),
    "sum v3 count by id1:id6": _grouping(
        "id1, id2, id3, id4, id5, id6", "sum(v3) AS v3, count(*) AS n", "v3 n"
    ),
    "small inner on int": _joined("JOIN", "small", "joined.id1 = small.id1"),
    "medium inner on int": _joined("JOIN", "medium", "joined.id2 = medium.id2"),
    "medium outer on int": _joined("LEFT JOIN", "medium", "joined.id2 = medium.id2"),
    "medium inner on factor": _joined("JOIN", "medium", "joined.id5 = medium.id5"),
    "big inner on int": _joined("JOIN", "big", "joined.id3 = big.id3"),
}
"""Each question, and the columns of its answer that are summed up."""


def cases() -> list[Case]:
    found = []
    for name, (query, columns) in QUESTIONS.items():
        sums = ", ".join(f"sum({column}) AS {column}" for column in columns.split())
        sql = _CHECKED.format(sums=sums, query=query)
        found.append(Case(name, f"groupby-join/{name}", sql))
    return found


def tables(rows: int, cache: Path = datasets.CACHE) -> dict[str, Path]:
    """The five tables as Parquet files, made if they are not there."""

    def make(directory: Path) -> None:
        directory.mkdir()
        with duckdb.connect(config={"preserve_insertion_order": False}) as connection:
            for table, query in _sources(rows).items():
                connection.sql(f"COPY ({query}) TO '{directory / table}.parquet'")

    return datasets.tables_in(datasets.made_once(cache / f"groupby-join-{rows}", make))


def _sources(rows: int) -> dict[str, str]:
    """Values are hashes of the row's number: the same on every machine, and in no order."""

    def pick(column: int, count: int) -> str:
        return f"CAST(1 + hash(i, {column}) % {count} AS INTEGER)"

    def name(column: int, count: int) -> str:
        return f"printf('id%03d', {pick(column, count)})"

    many = max(rows // GROUPS, 1)
    small, medium = max(rows // 1_000_000, 1), max(rows // 1_000, 1)
    grouped = (
        f"SELECT {name(1, GROUPS)} AS id1, {name(2, GROUPS)} AS id2, {name(3, many)} AS id3,"
        f" {pick(4, GROUPS)} AS id4, {pick(5, GROUPS)} AS id5, {pick(6, many)} AS id6,"
        f" {pick(7, 5)} AS v1, {pick(8, 15)} AS v2,"
        f" round(hash(i, 9) % 100000000 / 1e6, 6) AS v3 FROM range({rows}) AS t(i)"
    )
    # A tenth of the keys has no partner.
    joined = (
        f"SELECT {pick(1, small * 10 // 9 + 1)} AS id1, {pick(2, medium * 10 // 9 + 1)} AS id2,"
        f" {pick(3, rows * 10 // 9 + 1)} AS id3, {name(2, medium * 10 // 9 + 1)} AS id5,"
        f" round(hash(i, 10) % 100000000 / 1e6, 6) AS v1 FROM range({rows}) AS t(i)"
    )

    def partner(key: str, count: int, factor: str = "") -> str:
        value = "round(hash(i, 11) % 100000000 / 1e6, 6) AS v2"
        return (
            f"SELECT CAST(i + 1 AS INTEGER) AS {key}{factor}, {value} FROM range({count}) AS t(i)"
        )

    return {
        "grouped": grouped,
        "joined": joined,
        "small": partner("id1", small),
        "medium": partner("id2", medium, ", printf('id%03d', i + 1) AS id5"),
        "big": partner("id3", rows),
    }


@click.command("groupby-join")
@click.option("--rows", default=1e7, show_default=True, type=float, help="1e7 or 1e8, say.")
@options.masters
@options.against
@options.repeat(3)
@options.timeout_s
@options.json_file
def command(
    rows: float,
    masters: tuple[str, ...],
    against: str,
    repeat: int,
    timeout_s: float,
    json_file: Path | None,
) -> None:
    """The questions of the db-benchmark. Exits with 1 if an answer of FlowGrid is wrong."""
    peers = chosen(against)
    field = suite.contestants(masters, peers)
    data = tables(int(rows))
    console = options.console()
    settings = {
        "rows": int(rows),
        "repeat": repeat,
        "versions": versions(peers),
        "cases": len(QUESTIONS),
    }
    record = recordings.begin(json_file, "groupby-join", settings)
    limits = Limits(timeout_s)
    measurements = suite.run(data, field, cases(), repeat, limits, console, record)
    recording = recordings.Recording("groupby-join", machine_facts(), settings, measurements)
    options.show(recording, console)
    options.exit_if_wrong(measurements)
