"""The user's functions as expressions: `udf` makes them, `with_udf_columns` makes a plan of them.

In an expression a function is a name that the kernel does not know. Before a node is built, each call
becomes a column of a `MapBatches` below it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from flowgrid.api.column import Column, IntoColumn, IntoType, into_column
from flowgrid.errors import PlanError
from flowgrid.expr.aggregates import has_aggregate
from flowgrid.expr.names import fresh_names
from flowgrid.expr.tree import Expr, column, has_window
from flowgrid.expr.types import kernel_type
from flowgrid.logical.nodes import MapBatches, Named, Node, Project
from flowgrid.protocol.fragment import Field

if TYPE_CHECKING:
    import pyarrow as pa

_PREFIX = "flowgrid_udf_"
_numbers = itertools.count()
_functions: dict[str, Udf] = {}
"""By name in expressions; a function stays as long as the process, like the module it is from."""


@dataclass(frozen=True, eq=False)
class Udf:
    """A user's function; calling it with columns makes an expression."""

    function: Callable[..., Any]
    returns: str
    vectorized: bool
    deterministic: bool
    name: str

    def __call__(self, *arguments: IntoColumn) -> Column:
        """Strings are SQL, as in all functions of expressions."""
        if not arguments:
            raise PlanError("a user-defined function needs at least one column as its argument")
        found = [into_column(argument) for argument in arguments]
        tree = exp.Anonymous(this=self.name, expressions=[one.expression for one in found])
        return Column(tree, found[0].name)


def udf(
    returns: IntoType, *, vectorized: bool = False, deterministic: bool = True
) -> Callable[[Callable[..., Any]], Udf]:
    """Decorator: a Python function as an expression of type `returns`, run in executors.

    It gets the values of one row, NULL as None, and returns one; with `vectorized` it gets a
    `pyarrow.Array` per argument and returns one of the same length. Say `deterministic=False` if the
    same arguments may give another value: its tasks are then never run twice at the same time.
    """

    def decorate(function: Callable[..., Any]) -> Udf:
        name = f"{_PREFIX}{next(_numbers)}"
        made = Udf(function, kernel_type(returns), vectorized, deterministic, name)
        _functions[made.name] = made
        return made

    return decorate


def with_udf_columns(node: Node, expressions: Sequence[Expr]) -> tuple[Node, list[Expr]]:
    """Calls of user functions moved into `MapBatches` below; expressions that read their columns."""
    rewritten = list(expressions)
    while calls := [call for one in rewritten for call in _innermost_calls(one)]:
        call = calls[0]
        if has_aggregate(call) or has_window(call):
            raise PlanError(
                "a user-defined function of an aggregate or window: "
                "compute that first, and call the function in a following select or with_columns"
            )
        (name,) = fresh_names("udf", 1, node.columns)
        node = _mapped(node, _functions[call.name.lower()], call.expressions, name)
        rewritten = [_replaced(one, call, column(name)) for one in rewritten]
    return node, rewritten


def _innermost_calls(expression: Expr) -> list[exp.Anonymous]:
    calls = [node for node in expression.find_all(exp.Anonymous) if node.name.lower() in _functions]
    return [call for call in calls if not any(_innermost_calls(one) for one in call.expressions)]


def _replaced(expression: Expr, call: Expr, replacement: Expr) -> Expr:
    def replace(node: Expr) -> Expr:
        return replacement.copy() if node == call else node

    return expression.copy().transform(replace, copy=False)


def _mapped(node: Node, function: Udf, arguments: Sequence[Expr], result: str) -> Node:
    """All columns of `node`, and the function's result as one more."""
    from flowgrid.io.arrow_types import plain_schema  # pyarrow, for plans with user code only
    from flowgrid.logical.schema import arrow_schema, schema_of

    names = fresh_names("argument", len(arguments), node.columns)
    prepared = Project(
        node,
        (
            *(Named(name, column(name)) for name in node.columns),
            *(Named(name, value) for name, value in zip(names, arguments, strict=True)),
        ),
    )
    fields = (*schema_of(node), Field(result, function.returns))
    schema = plain_schema(arrow_schema(fields))
    called = _over_batches(function.function, function.vectorized, len(names), schema)
    try:
        import cloudpickle  # here: only user code needs it

        pickled = cloudpickle.dumps(called)
    except Exception as error:
        raise PlanError(f"{function.function!r} cannot be sent to executors: {error}") from error
    label = getattr(function.function, "__qualname__", "udf")
    return MapBatches(
        prepared,
        pickled,
        schema.serialize().to_pybytes(),
        fields,
        label,
        deterministic=function.deterministic,
    )


def _over_batches(
    function: Callable[..., Any], vectorized: bool, count: int, schema: pa.Schema
) -> Callable[[pa.RecordBatch], pa.RecordBatch]:
    # A function inside a function travels by value: slots import neither this module nor sqlglot.
    def over_batch(batch: Any) -> Any:
        import pyarrow

        kept, arguments = batch.columns[:-count], batch.columns[-count:]
        wanted = schema.field(len(schema) - 1).type
        if vectorized:
            values = function(*arguments)
        else:
            rows = zip(*(argument.to_pylist() for argument in arguments), strict=True)
            values = pyarrow.array([function(*row) for row in rows], wanted)
        arrays = [
            array if array.type == field.type else array.cast(field.type)
            for array, field in zip([*kept, values], schema, strict=True)
        ]
        return pyarrow.RecordBatch.from_arrays(arrays, schema=schema)

    return over_batch
