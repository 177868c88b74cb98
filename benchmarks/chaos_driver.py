"""The program that `benchmarks.chaos` runs again and again: jobs, and whether their answers are right.

Says one JSON line when a job begins and one when it has ended.
"""

from __future__ import annotations

import dataclasses
import json
import random
import sys
from pathlib import Path

import duckdb
import pyarrow as pa

import flowgrid as fg
from benchmarks.answers import AnswersDiffer, require_equal, sort_columns
from benchmarks.datasets import tables_in
from benchmarks.tpch.texts import ALL, query_text

SINK = "sink"
SHARES = 7
"""A sink job writes one of so many shares of `lineitem` over whatever was there."""

SINK_SHARE = 0.25
"""Of all jobs."""

CONF = {
    "planner.force_exchanges": "true",
    "planner.partitions": "4",
    "planner.split_bytes": "4m",
    "scheduler.no_executors_grace_s": "2",
    "executor.heartbeat_timeout_s": "5",
}
"""Small data walks the paths of big data, in more tasks than there are slots."""

CLUSTER_IS_GONE = ("no_executors", "ConnectError")
"""Failures after which no other job of the same session can succeed."""


@dataclasses.dataclass(frozen=True)
class Premises:
    """What a driver is given: the tables, the right answers, and where it may write."""

    data: Path
    answers: Path
    output: Path

    def prepare(self) -> None:
        """Compute the right answers, with DuckDB alone."""
        self.answers.mkdir()
        with duckdb.connect() as connection:
            for name, path in tables_in(self.data).items():
                connection.execute(f"CREATE VIEW {name} AS FROM read_parquet('{path}')")
            for number in ALL:
                answer = connection.sql(query_text(number)).to_arrow_table()
                with pa.ipc.new_file(str(self.answers / f"{number}.arrow"), answer.schema) as file:
                    file.write_table(answer)

    def answer(self, query: int) -> pa.Table:
        with pa.ipc.open_file(str(self.answers / f"{query}.arrow")) as file:
            return file.read_all()


def share_sql(table: str, share: int) -> str:
    """What sink job `share` writes."""
    columns = "l_orderkey, l_linenumber, l_extendedprice"
    return f"SELECT {columns} FROM {table} WHERE l_orderkey % {SHARES} = {share}"


def what_is_there(output: Path, data: Path) -> int | None:
    """The share that a reader finds at `output`, None if there is nothing yet. Raises `AnswersDiffer`
    if it is not exactly one share."""
    files = [str(path) for path in output.rglob("*.parquet") if "_flowgrid" not in path.parts]
    if not files:
        return None
    with duckdb.connect() as connection:
        facts = "count(*), sum(l_extendedprice), min(l_orderkey % 7), max(l_orderkey % 7)"
        found = connection.sql(f"SELECT {facts} FROM read_parquet({files})").fetchall()
        share = int(found[0][2])
        table = f"read_parquet('{data / 'lineitem.parquet'}')"
        right = connection.sql(f"SELECT {facts} FROM ({share_sql(table, share)})").fetchall()
    if found != right:
        raise AnswersDiffer(f"at {output}: {found} is not share {share}, {right}")
    return share


def main() -> None:
    """Arguments: master, data, answers, output, jobs, seed."""
    master, *folders, jobs, seed = sys.argv[1:]
    premises = Premises(*map(Path, folders))
    dice = random.Random(seed)
    with fg.connect(master, conf=CONF) as session:
        for name, path in tables_in(premises.data).items():
            session.register(name, session.read_parquet(str(path)))
        for _ in range(int(jobs)):
            is_sink = dice.random() < SINK_SHARE
            job = f"{SINK} {dice.randrange(SHARES)}" if is_sink else f"q{dice.choice(ALL):02d}"
            _say(begins=job)
            end = _run(session, premises, job)
            _say(**end)
            if end.get("kind") in CLUSTER_IS_GONE:
                break


def _run(session: fg.Session, premises: Premises, job: str) -> dict[str, str]:
    """How a job ended: right, wrong or failed."""
    try:
        if job.startswith(SINK):
            share = int(job.split()[1])
            frame = session.sql(share_sql("lineitem", share))
            frame.write_parquet(str(premises.output), mode="overwrite")
            if what_is_there(premises.output, premises.data) != share:
                raise AnswersDiffer(f"share {share} was written, and another one is there")
        else:
            number = int(job[1:])
            text = query_text(number)
            answer = session.sql(text).collect()
            require_equal(answer, premises.answer(number), sort_columns(text))
    except AnswersDiffer as error:
        return {"ended": "wrong", "message": str(error)}
    except fg.FlowGridError as error:
        kind = str(getattr(error, "kind", "")) or type(error).__name__
        return {"ended": "failed", "kind": kind, "message": str(error)}
    return {"ended": "right"}


def _say(**line: str) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
