"""Verbs that change which rows there are, how they are laid out, or what user code makes of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from sqlglot import exp

from flowgrid.api.column import IntoColumn, IntoType, flatten, into_column
from flowgrid.api.selections import only
from flowgrid.errors import PlanError
from flowgrid.expr.names import column_named, find_name, fresh_names, resolve
from flowgrid.expr.tree import column, literal
from flowgrid.expr.types import kernel_type
from flowgrid.logical.nodes import (
    MapBatches,
    Named,
    Node,
    Project,
    Repartition,
    Sample,
    Union,
    Unnest,
)
from flowgrid.protocol.fragment import Field

if TYPE_CHECKING:
    import pyarrow as pa


def union(nodes: Sequence[Node]) -> Node:
    """All rows of all relations, their columns matched by name."""
    first, *rest = nodes
    aligned = [first]
    for position, node in enumerate(rest, start=1):
        missing = [name for name in first.columns if find_name(name, node.columns) is None]
        further = [name for name in node.columns if find_name(name, first.columns) is None]
        if missing or further:
            raise PlanError(
                f"frame {position} of the union lacks columns {missing} and has others {further}: "
                "select the same columns first"
            )
        names = [column_named(name, node.columns) for name in first.columns]
        aligned.append(only(node, names))
    return Union(tuple(aligned)) if rest else first


def explode(node: Node, name: str) -> Node:
    return Unnest(node, column_named(name, node.columns, "explode"))


def unpivot(
    node: Node,
    on: str | Sequence[str] | None,
    index: str | Sequence[str] | None,
    variable_name: str,
    value_name: str,
) -> Node:
    """One row per row and column of `on`: a list of (name, value) structs, unnested."""
    kept = _columns(node, index) or []
    wanted = _columns(node, on)
    if wanted is None:
        wanted = [name for name in node.columns if name not in kept]
    if not wanted:
        raise PlanError("unpivot has no columns to turn into rows")
    (pairs,) = fresh_names("pair", 1, node.columns)
    items = [
        exp.Struct(
            expressions=[
                exp.PropertyEQ(this=exp.to_identifier(field, quoted=True), expression=value)
                for field, value in (("name", literal(name)), ("value", column(name)))
            ]
        )
        for name in wanted
    ]
    listed = [Named(name, column(name)) for name in kept]
    rows = Unnest(
        Project(node, (*listed, Named(pairs, exp.Array(expressions=items)))),
        pairs,
        keep_empty=False,
    )
    fields = [
        Named(shown, exp.Dot(this=exp.Paren(this=column(pairs)), expression=_identifier(field)))
        for shown, field in ((variable_name, "name"), (value_name, "value"))
    ]
    return Project(rows, (*listed, *fields))


def _identifier(name: str) -> exp.Identifier:
    return exp.Identifier(this=name, quoted=True)


def _columns(node: Node, names: str | Sequence[str] | None) -> list[str] | None:
    if names is None:
        return None
    listed = [names] if isinstance(names, str) else names
    return [column_named(name, node.columns, "unpivot") for name in listed]


def sample(node: Node, fraction: float, seed: int | None) -> Node:
    if not 0 <= fraction <= 1:
        raise PlanError(f"fraction={fraction} must be between 0 and 1")
    return Sample(node, fraction, int.from_bytes(os.urandom(4)) if seed is None else seed)


def repartition(node: Node, count: int | None, keys: Sequence[IntoColumn]) -> Node:
    if count is not None and count < 1:
        raise PlanError(f"repartition into {count} partitions: give at least 1")
    resolved = (
        resolve(into_column(key, node.columns).expression, node.columns, "repartition")
        for key in flatten(keys)
    )
    return Repartition(node, count, tuple(resolved))


def map_batches(
    node: Node,
    function: Callable[[Any], Any],
    schema: pa.Schema | Mapping[str, IntoType],
    batch_rows: int,
    deterministic: bool,
) -> Node:
    """The user's function over batches; it travels pickled and is loaded in slots only."""
    fields, arrow = _schema(schema)
    try:
        import cloudpickle  # here: only user code needs it

        pickled = cloudpickle.dumps(function)
    except Exception as error:
        raise PlanError(f"{function!r} cannot be sent to executors: {error}") from error
    label = getattr(function, "__qualname__", type(function).__name__)
    return MapBatches(
        node, pickled, arrow.serialize().to_pybytes(), fields, label, batch_rows, deterministic
    )


def _schema(schema: pa.Schema | Mapping[str, IntoType]) -> tuple[tuple[Field, ...], pa.Schema]:
    from flowgrid.api.reading import (
        fields_of,
    )  # pyarrow: a session without user code may not need it
    from flowgrid.io.arrow_types import plain_schema
    from flowgrid.logical.schema import arrow_schema

    if isinstance(schema, Mapping):
        fields = tuple(Field(name, kernel_type(type_)) for name, type_ in schema.items())
        return fields, plain_schema(arrow_schema(fields))
    return fields_of(schema), schema
