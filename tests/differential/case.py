"""One case: tables, a query, a cluster's shape. It holds if FlowGrid and plain DuckDB say the same."""

from __future__ import annotations

import math
import tempfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from flowgrid.api.dataframe import DataFrame
from flowgrid.api.session import Session
from flowgrid.expr.tree import column
from flowgrid.io.arrow_types import plain_schema, to_plain
from flowgrid.logical.nodes import Repartition
from flowgrid.optimizer.optimizer import bound_queries, optimize
from tests.differential.dice import Dice
from tests.differential.grammar import Grammar
from tests.differential.tables import Table, draw_tables
from tests.reference import ReferenceEngine
from tests.stage_runner import StageRunner

PARTITION_BYTES = 24
"""Of a driver's table: one row, or a few."""

SPLIT_BYTES = 16
"""Of a file: each of its row groups may be a task. With the planner's own limit a small file is one
task, and what is in one task needs no exchange."""

MANY_ROWS = "More than one row returned by a subquery"

Row = tuple[Any, ...]


class Disagreement(AssertionError):
    """FlowGrid and DuckDB do not say the same; the message has the case as SQL."""


class KernelFailed(Exception):
    """DuckDB itself broke: there is nothing to compare with."""


@dataclass(frozen=True)
class Shape:
    """The cluster, and the settings of the planner."""

    slots: int = 2
    conf: Mapping[str, object] = field(default_factory=dict)
    optimized: bool = True


@dataclass(frozen=True)
class Case:
    tables: tuple[Table, ...]
    query: str
    ordered: bool = False
    shape: Shape = Shape()

    def __str__(self) -> str:
        ddl = "\n".join(f"{table.ddl()} -- {table.source}" for table in self.tables)
        return f"{ddl}\n{self.query};\n-- {self.shape}"


def draw_case(dice: Dice) -> Case:
    tables = draw_tables(dice)
    query, ordered = Grammar(dice, tables).query()
    conf: dict[str, object] = {
        "planner.partitions": dice.pick([2, 3, 1, 5]),
        "planner.split_bytes": SPLIT_BYTES,
    }
    match dice.below(6):
        case 0 | 1 | 2:
            conf["planner.force_exchanges"] = True
        case 3 | 4:  # small by these limits, or not: decisions from real sizes
            conf["planner.target_partition_bytes"] = 40
            conf["planner.broadcast_bytes_max"] = 100
            conf["planner.reduce_bytes_min"] = 0
    shape = Shape(2 + dice.below(3), conf, not dice.chance(10))
    return Case(tables, query, ordered, shape)


def check(case: Case) -> None:
    """Raises `Disagreement`, or `KernelFailed`."""
    with duckdb.connect(config={"threads": 1}) as kernel, tempfile.TemporaryDirectory() as folder:
        kernel.execute("SET TimeZone = 'UTC'")
        for table in case.tables:
            kernel.execute(table.ddl())
        session = _session(case, kernel, Path(folder))
        wanted = _kernels_answer(kernel, case.query)
        runner = StageRunner(Path(folder), case.shape.slots, dict(case.shape.conf), PARTITION_BYTES)
        found = _our_answer(session, runner, case)
        if isinstance(found, Exception) and MANY_ROWS in str(found):
            wanted = _unoptimized_answer(kernel, case.query, wanted)
        difference = _difference(found, wanted, case.ordered)
        if difference:
            stages = runner.stages if runner.planner is not None else ""
            cause = found if isinstance(found, Exception) else None
            raise Disagreement(f"{difference}\n\n{case}\n\n{case!r}\n\n{stages}") from cause


def _kernels_answer(kernel: duckdb.DuckDBPyConnection, query: str) -> pa.Table | Exception:
    try:
        return _plain(kernel.sql(query).to_arrow_table())
    except duckdb.InternalException as error:
        raise KernelFailed(str(error)) from error
    except duckdb.Error as error:
        return error


def _unoptimized_answer(
    kernel: duckdb.DuckDBPyConnection, query: str, optimized: pa.Table | Exception
) -> pa.Table | Exception:
    """The kernel's refusal of a subquery's second row, if only its optimizer let the row pass.

    What nobody reads it may leave out or not, and so may we. That we refuse what it never does, or
    answer what it refuses, is a disagreement as any other.
    """
    kernel.execute("PRAGMA disable_optimizer")
    found = _kernels_answer(kernel, query)
    return found if isinstance(found, Exception) and MANY_ROWS in str(found) else optimized


def _our_answer(session: Session, runner: StageRunner, case: Case) -> pa.Table | Exception:
    try:
        plan = session.sql(case.query).node
        return runner.run(optimize(plan) if case.shape.optimized else bound_queries(plan))
    except Exception as error:  # of whatever kind: what matters is whether the kernel has one too
        return error


def _session(case: Case, kernel: duckdb.DuckDBPyConnection, folder: Path) -> Session:
    session = Session(ReferenceEngine())
    for table in case.tables:
        if table.source == "parquet":
            directory = folder / table.name
            directory.mkdir()
            half = len(table.rows) // 2
            for number, part in enumerate((f"LIMIT {half}", f"OFFSET {half}", "LIMIT 0")):
                kernel.execute(
                    f"COPY (FROM {table.name} {part}) TO '{directory}/{number}.parquet' "
                    "(FORMAT parquet, ROW_GROUP_SIZE 2)"
                )
            session.register(table.name, session.read_parquet(str(directory)))
            continue
        frame = session.from_arrow(kernel.table(table.name).to_arrow_table())
        if table.source != "given":
            keys = (column(table.columns[0][0]),) if table.source == "hashed" else ()
            frame = DataFrame(Repartition(frame.node, 3, keys), session.engine)
        session.register(table.name, frame)
    return session


def _plain(table: pa.Table) -> pa.Table:
    batches = [to_plain(batch) for batch in table.to_batches()]
    return pa.Table.from_batches(batches, plain_schema(table.schema))


def _difference(found: pa.Table | Exception, wanted: pa.Table | Exception, ordered: bool) -> str:
    """What differs, or an empty text."""
    if isinstance(found, Exception) or isinstance(wanted, Exception):
        if isinstance(found, Exception) and isinstance(wanted, Exception):
            return ""
        return f"{_shown(found)}\nagainst\n{_shown(wanted)}"
    if found.schema != wanted.schema:
        return f"{found.schema}\nagainst\n{wanted.schema}"
    ours, theirs = _rows(found), _rows(wanted)
    if not ordered:
        ours, theirs = sorted(ours, key=repr), sorted(theirs, key=repr)
    if ours == theirs or (len(ours) == len(theirs) and _nearly(ours, theirs)):
        return ""
    lacking, surplus = (Counter(map(repr, rows)) for rows in (theirs, ours))
    return f"lacking {lacking - surplus}\nsurplus {surplus - lacking}\nordered: {ordered}"


def _shown(answer: pa.Table | Exception) -> str:
    if isinstance(answer, Exception):
        return f"{type(answer).__name__}: {answer}"
    return f"{answer.num_rows} rows"


def _rows(table: pa.Table) -> list[Row]:
    columns = [map(_canonical, column.to_pylist()) for column in table.columns]
    return list(zip(*columns, strict=True))


def _canonical(value: object) -> object:
    """Without the sign of zero, and NaN equal to itself."""
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value + 0.0
    return value


def _nearly(ours: list[Row], theirs: list[Row]) -> bool:
    return all(
        type(a) is type(b)
        and (math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9) if isinstance(a, float) else a == b)
        for left, right in zip(ours, theirs, strict=True)
        for a, b in zip(left, right, strict=True)
    )
