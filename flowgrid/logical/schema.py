"""The schema of every node, asked of the kernel itself: DESCRIBE over relations without rows.

So types, coercions and function signatures are the kernel's own, for all of its functions, and a query
that cannot mean anything is refused in the driver, at the line that says it.
"""

from __future__ import annotations

import re
import threading
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from flowgrid.errors import ColumnNotFoundError, PlanError, SqlSyntaxError, TypeMismatchError
from flowgrid.logical.nodes import KernelQuery, Leaf, MapBatches, Node, Write
from flowgrid.logical.rendering import empty_relation, select, topological
from flowgrid.protocol.fragment import Field

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_schemas: WeakKeyDictionary[Node, tuple[Field, ...]] = WeakKeyDictionary()
_lock = threading.Lock()
_connection: duckdb.DuckDBPyConnection | None = None


def kernel() -> duckdb.DuckDBPyConnection:
    """The driver's own kernel, for questions only; hold `_lock` while using it."""
    global _connection
    if _connection is None:
        import duckdb  # 0.2 s: sessions that never ask a question do not pay for it

        _connection = duckdb.connect(config={"threads": 1})
        _connection.execute("SET TimeZone = 'UTC'")
        _connection.execute("SET arrow_output_version = '1.5'")
    return _connection


def schema_of(node: Node) -> tuple[Field, ...]:
    """Names and kernel types of a node's columns.

    Raises `TypeMismatchError`, `ColumnNotFoundError` or `PlanError` if the kernel refuses the plan.
    """
    if isinstance(node, Leaf | MapBatches | KernelQuery):
        return node.fields
    if isinstance(node, Write):
        return ()
    known = _schemas.get(node)
    if known is None:
        known = _schemas[node] = describe(_over_nothing(node))
    return known


def _over_nothing(root: Node) -> str:
    """The node's query with every known relation below it replaced by one without rows."""
    relations: dict[Node, str] = {}
    definitions: list[tuple[str, str]] = []
    for node in topological(root):
        fields = node.fields if isinstance(node, Leaf | MapBatches) else _schemas.get(node)
        if fields is not None and node is not root:
            relations[node] = f"e{len(relations)}"
            definitions.append((relations[node], empty_relation(fields)))
    return select(root, relations, definitions)


def describe(query: str) -> tuple[Field, ...]:
    """Names and types of a query's columns; the kernel's refusals in our words."""
    import duckdb

    with _lock:
        try:
            rows = kernel().execute(f"DESCRIBE {query}").fetchall()
        except duckdb.Error as error:
            raise translated(error) from None
    return tuple(Field(row[0], row[1]) for row in rows)


def arrow_schema(fields: tuple[Field, ...]) -> pa.Schema:
    """The Arrow schema that the kernel exports for these columns."""
    import pyarrow as pa

    if not fields:
        return pa.schema([])
    with _lock:
        schema: pa.Schema = kernel().sql(empty_relation(fields)).to_arrow_table().schema
    return schema


def translated(error: Exception) -> PlanError:
    """A kernel error about a query as the `PlanError` that tells the user what to do."""
    text = str(error).split("\n\nLINE ")[0]
    missing = re.search(r'Referenced column "(.+?)" (?:was )?not found', text)
    if missing:
        candidates = re.search(r"Candidate bindings: (.+)", text)
        names = re.findall(r'"([^"]+)"', candidates[1]) if candidates else []
        return ColumnNotFoundError(missing[1], names)
    # The list of candidate functions can be a hundred lines; the first line is what is wrong.
    summary = text.split("\n")[0].removeprefix("Binder Error: ").removeprefix("Catalog Error: ")
    if type(error).__name__ == "ParserException":
        return SqlSyntaxError(summary.removeprefix("Parser Error: "))
    if "No function matches" in text or "Cannot compare" in text or "cast" in text.lower():
        summary = summary.replace(" You might need to add explicit type casts.", "")
        return TypeMismatchError(f"{summary} Cast one side, or use other columns.")
    return PlanError(summary)
