"""The obvious way to run a plan: one DuckDB connection in this process. Engines must agree with it."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import duckdb
import pyarrow as pa
import pyarrow.ipc

from flowgrid.expr.tree import quote
from flowgrid.ids import AttemptId
from flowgrid.io import commit
from flowgrid.io.arrow_types import plain_schema, to_plain
from flowgrid.logical.nodes import GivenTable, IntegerRange, Leaf, Node, Scan, Write
from flowgrid.logical.rendering import steps, topological
from flowgrid.protocol.fragment import PythonStep
from flowgrid.protocol.reports import WrittenFile


class ReferenceResult:
    """A whole answer in memory."""

    def __init__(self, table: pa.Table, rows: int | None = None) -> None:
        self._table = table
        self.schema = table.schema
        self.rows = table.num_rows if rows is None else rows

    def batches(self) -> Iterator[pa.RecordBatch]:
        yield from self._table.to_batches()

    def __enter__(self) -> ReferenceResult:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is held."""


class ReferenceEngine:
    """`flowgrid.api.engine.Engine` without a cluster."""

    def run(self, plan: Node) -> ReferenceResult:
        if isinstance(plan, Write):
            return ReferenceResult(pa.table({}), _write(plan))
        return ReferenceResult(run(plan))

    def explain_stages(self, plan: Node) -> str:
        return "one query"

    def explain_changes(self, plan: Node) -> str:
        return ""

    def analyze(self, plan: Node) -> str:
        return f"one query, {self.run(plan).rows} rows"

    def close(self) -> None:
        """Nothing is open."""


def run(root: Node) -> pa.Table:
    """All rows of a plan, with plain Arrow types."""
    with duckdb.connect(config={"threads": 1}) as kernel:
        relation = _relation(kernel, root)
        return _plain(relation.to_arrow_table())


def _plain(table: pa.Table) -> pa.Table:
    batches = [to_plain(batch) for batch in table.to_batches()]
    return pa.Table.from_batches(batches, plain_schema(table.schema))


def _relation(kernel: duckdb.DuckDBPyConnection, root: Node) -> duckdb.DuckDBPyRelation:
    kernel.execute("SET TimeZone = 'UTC'")
    kernel.execute("SET arrow_output_version = '1.5'")
    kernel.execute("SET arrow_lossless_conversion = true")
    leaves: dict[Leaf, str] = {}
    for node in topological(root):
        if isinstance(node, Leaf):
            leaves[node] = f"leaf{len(leaves)}"
            define(kernel, leaves[node], node)
    for step in steps(root, leaves):
        if isinstance(step, PythonStep):
            kernel.register(
                step.name, _call(step, _plain(kernel.table(quote(step.input)).to_arrow_table()))
            )
        else:
            kernel.execute(f"CREATE TEMP VIEW {quote(step.name)} AS {step.sql}")
        last = step.name
    return kernel.sql(f"FROM {quote(last)}")


def define(kernel: duckdb.DuckDBPyConnection, name: str, leaf: Leaf) -> None:
    """Makes a leaf of a plan a relation of the connection's."""
    match leaf:
        case GivenTable():
            kernel.register(name, leaf.table)
        case IntegerRange():
            numbers = f"range({leaf.start}, {leaf.stop}, {leaf.step})"
            query = f"SELECT range AS {quote(leaf.columns[0])} FROM {numbers}"
            kernel.execute(f"CREATE OR REPLACE TEMP VIEW {quote(name)} AS {query}")
        case Scan() if leaf.dataset.format in ("ipc", "text"):
            kernel.register(name, _arrow_files(leaf).select(list(leaf.columns)))
        case Scan():
            kernel.execute(f"CREATE OR REPLACE TEMP VIEW {quote(name)} AS {_scan(leaf)}")
        case _:
            raise AssertionError(f"{type(leaf).__name__} is no leaf of a logical plan")


def _scan(leaf: Scan) -> str:
    dataset = leaf.dataset
    options = dict(dataset.options)
    if dataset.format in ("csv", "json"):
        in_files = [f for f in dataset.fields if f"'{f.name}'" not in options.get("hive_types", "")]
        options["columns"] = "{" + ", ".join(f"'{f.name}': '{f.type}'" for f in in_files) + "}"
    if dataset.format == "csv":
        options["auto_detect"] = "false"
    files = ", ".join(f"'{file.path}'" for file in dataset.files)
    rest = "".join(f", {name} = {value}" for name, value in options.items())
    columns = ", ".join(map(quote, leaf.columns)) or "NULL"
    return f"SELECT {columns} FROM read_{dataset.format}([{files}]{rest})"


def _arrow_files(leaf: Scan) -> pa.Table:
    if leaf.dataset.format == "text":
        lines = [line for f in leaf.dataset.files for line in Path(f.path).read_text().splitlines()]
        return pa.table({"value": pa.array(lines, pa.string())})
    tables = []
    for file in leaf.dataset.files:
        with pa.OSFile(file.path) as opened:
            tables.append(pa.ipc.open_file(opened).read_all())
    return pa.concat_tables(tables)


def _call(step: PythonStep, table: pa.Table) -> pa.Table:
    function = cloudpickle.loads(step.function)
    schema = pa.ipc.read_schema(pa.py_buffer(step.schema))
    rows = step.batch_rows or None
    found = [part for batch in table.to_batches(rows) for part in _parts(function(batch))]
    tables = [pa.table(part).cast(schema) for part in found]
    return pa.concat_tables(tables) if tables else schema.empty_table()


def _parts(returned: Any) -> list[Any]:
    if inspect.isgenerator(returned) or isinstance(returned, list):
        return list(returned)
    return [pa.Table.from_batches([returned]) if isinstance(returned, pa.RecordBatch) else returned]


def _write(plan: Write) -> int:
    """One unpartitioned file of one attempt, as a slot would leave it, and the commit; its rows."""
    staging = commit.prepare(plan.path, plan.mode)
    attempt = AttemptId(1, 0, 0, 0)
    folder = Path(staging.url, commit.attempt_folder(attempt))
    try:
        table = run(plan.input)
        folder.mkdir(parents=True)
        path = folder / f"part-00000-0.{plan.format}"
        with duckdb.connect() as kernel:
            kernel.register("rows", table)
            header = ", HEADER" if dict(plan.options).get("header") == "true" else ""
            kernel.execute(f"COPY rows TO '{path}' (FORMAT {plan.format}{header})")
        written = WrittenFile(path.name, table.num_rows, path.stat().st_size)
        commit.commit(staging, [(attempt, written)], plan.mode)
        return written.rows
    except BaseException:
        commit.abort(staging)
        raise
