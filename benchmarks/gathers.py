"""Which tasks that are alone in their stage read much of what others wrote, query by query.

Every query runs once; the sizes are those that its stages really had.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

import click

import flowgrid as fg
from benchmarks import datasets, options
from benchmarks.tpcds import texts as tpcds
from benchmarks.tpch import texts as tpch

BYTES_MAX = 1_000_000
"""What one task may read of other stages without a word here."""

_STAGE = re.compile(r"^stage (\d+)  (\d+) tasks?  .*?(?:→ [\d,]+ rows, ([\d,]+) bytes)?$")
_READ = re.compile(r"^ *Read stage (\d+)")
"""A broadcast begins otherwise: it is read by all tasks, however many there are."""


class Gather(NamedTuple):
    """A stage of one task, and the bytes of the stages that it reads."""

    stage: int
    bytes: int
    what: str


def gathers(stages: str, bytes_max: int = BYTES_MAX) -> Iterator[Gather]:
    """Those above `bytes_max` in a text of measured stages, as EXPLAIN ANALYZE gives it."""
    written: dict[int, int] = {}
    for text in re.split(r"\n(?=stage )", stages):
        head, *tree = text.split("\n")
        found = _STAGE.match(head)
        if found is None:
            continue
        number, tasks = int(found[1]), int(found[2])
        written[number] = int((found[3] or "0").replace(",", ""))
        read = {int(match[1]) for line in tree if (match := _READ.match(line))}
        bytes_ = sum(written[stage] for stage in read)
        if tasks == 1 and bytes_ > bytes_max:
            yield Gather(number, bytes_, tree[0].strip())


@click.command("gathers")
@click.option("--suite", type=click.Choice(["tpch", "tpcds"]), default="tpch", show_default=True)
@click.option("--queries", default="", help="Such as 1,3,18; all of them if not given.")
@click.option("--scale", default=1.0, show_default=True, help="1 is about 1 GB of text.")
@options.master
def command(suite: str, queries: str, scale: float, master: str) -> None:
    """Lists the gathers above 1 MB of a suite's queries, as FLOWGRID_CONF has the planner."""
    data = datasets.tpch(scale) if suite == "tpch" else datasets.tpcds(scale)
    everything = tpch.ALL if suite == "tpch" else tpcds.ALL
    numbers = [int(number) for number in queries.split(",") if number] or everything
    count = 0
    with fg.connect(master) as session:
        for name, path in datasets.tables_in(data).items():
            session.register(name, session.read_parquet(str(path)))
        for number in numbers:
            text = tpch.query_text(number) if suite == "tpch" else tpcds.query_text(number, data)
            (analyzed,) = session.sql(f"EXPLAIN ANALYZE {text}").to_pylist()
            for found in gathers(analyzed["explain_value"]):
                count += 1
                click.echo(f"Q{number} stage {found.stage}: {found.bytes:,} bytes, {found.what}")
    click.echo(f"{len(numbers)} queries, {count} tasks alone with more than {BYTES_MAX:,} bytes")
