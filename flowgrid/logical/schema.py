"""The schema of every node, asked of the kernel itself: DESCRIBE over relations without rows.

So types, coercions and function signatures are the kernel's own, for all of its functions, and a query
that cannot mean anything is refused in the driver, at the line that says it.
"""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlglot import exp

from flowgrid.errors import ColumnNotFoundError, PlanError, SqlSyntaxError, TypeMismatchError
from flowgrid.expr.tree import Expr, cast, to_sql
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
        _connection.execute("SET arrow_lossless_conversion = true")
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
        known = _schemas[node] = describe(over_nothing(node, _known))
    return known


def _known(node: Node) -> tuple[Field, ...] | None:
    return node.fields if isinstance(node, Leaf | MapBatches) else _schemas.get(node)


def over_nothing(root: Node, known: Callable[[Node], tuple[Field, ...] | None]) -> str:
    """The node's query with every known relation below it replaced by one without rows."""
    relations: dict[Node, str] = {}
    definitions: list[tuple[str, str]] = []

    def below(node: Node) -> tuple[Node, ...]:
        return node.inputs if node is root or known(node) is None else ()

    for node in topological(root, below):
        fields = known(node)
        if fields is not None and node is not root:
            relations[node] = f"#e{len(relations)}"
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


@functools.lru_cache(256)
def arrow_schema(fields: tuple[Field, ...]) -> pa.Schema:
    """The Arrow schema that the kernel exports for these columns."""
    import pyarrow as pa

    if not fields:
        return pa.schema([])
    with _lock:
        schema: pa.Schema = kernel().sql(empty_relation(fields)).to_arrow_table().schema
    return schema


_EXACT_AS_TEXT = re.compile(
    r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|BOOLEAN|FLOAT|DOUBLE|DECIMAL\(.*\)|VARCHAR"
    r"|DATE|TIME|TIMESTAMP.*|INTERVAL|UUID"
)


def evaluate_constants(expressions: list[Expr]) -> list[Expr]:
    """Each expression without columns as a literal of the same value and type, by one query.

    An expression that raises stays as it is, and so does one of a type that text does not hold exactly.
    """
    import duckdb

    with _lock:
        try:
            return _as_literals(expressions)
        except duckdb.Error:
            found: list[Expr] = []
            for expression in expressions:
                with contextlib.suppress(duckdb.Error):
                    found += _as_literals([expression])
                    continue
                found.append(expression)
            return found


def _as_literals(expressions: list[Expr]) -> list[Expr]:
    texts = [to_sql(expression) for expression in expressions]
    asked = ", ".join(f"CAST({text} AS VARCHAR), typeof({text})" for text in texts)
    row = _only_row(f"SELECT {asked}")
    values = zip(row[::2], row[1::2], expressions, strict=True)
    return [_as_literal(value, type_) or expression for value, type_, expression in values]


def _as_literal(value: str | None, type_: str) -> Expr | None:
    if not _EXACT_AS_TEXT.fullmatch(type_):
        return None
    match type_:
        case _ if value is None:
            return cast(exp.Null(), type_)
        case "BOOLEAN":
            return exp.Boolean(this=value == "true")
        case "INTEGER" if not value.startswith("-"):
            return exp.Literal.number(value)
        case "VARCHAR":
            return exp.Literal.string(value)
    return cast(exp.Literal.string(value), type_)


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


@functools.cache
def aggregate_functions() -> frozenset[str]:
    """Lower-case names of the kernel's aggregate functions."""
    with _lock:
        rows = kernel().execute(
            "SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = 'aggregate'"
        )
        return frozenset(name.casefold() for (name,) in rows.fetchall())


def exported_types(query: str) -> list[str]:
    """Kernel types of a query's columns as they come back after a journey through Arrow."""
    with _lock:
        travelled = kernel().from_arrow(kernel().sql(query).to_arrow_table())
        return [str(type_) for type_ in travelled.types]


def evaluate(query: str) -> object:
    """The value of a query with one row of one column, which reads no tables."""
    import duckdb

    with _lock:
        try:
            return _only_row(query)[0]
        except duckdb.Error as error:
            raise translated(error) from None


def _only_row(query: str) -> tuple[Any, ...]:
    # Fetched to its end: a connection with an open result refuses the next query.
    (row,) = kernel().execute(query).fetchall()
    return tuple(row)
