"""The columns of a plan that the kernel has accepted: it is asked only for what is computed.

`schema_of` asks about a whole plan and hears what is wrong with it. Once that is known to be nothing,
most types follow from those of the leaves: a filter, a sort and a join change none.
"""

from __future__ import annotations

from collections.abc import Sequence
from weakref import WeakKeyDictionary

from sqlglot import exp

from flowgrid.logical.nodes import (
    Aggregate,
    AsofJoin,
    Join,
    KernelQuery,
    Leaf,
    MapBatches,
    Named,
    Node,
    Project,
    SameColumns,
    SetOperation,
    Union,
    Unnest,
)
from flowgrid.logical.rendering import topological
from flowgrid.logical.schema import describe, exported_types, over_nothing
from flowgrid.protocol.fragment import Field

Fields = tuple[Field, ...]

_known: WeakKeyDictionary[Node, Fields] = WeakKeyDictionary()


def fields_of(root: Node) -> Fields:
    """Names and kernel types of a node's columns, as `schema_of` would tell them."""
    known = _known.get(root)
    if known is not None:
        return known
    for node in topological(root, lambda node: () if node in _known else node.inputs):
        if node not in _known:
            given = [_known[child] for child in node.inputs]
            found = _inherited(node, given)
            if found is None:
                found = describe(over_nothing(node, _writable))
            _known[node] = found
    return _known[root]


def types_of(node: Node, expressions: Sequence[exp.Expr]) -> tuple[str, ...]:
    """The kernel types of expressions over the node's columns, asked all at once."""
    named = tuple(Named(f"#{index}", one) for index, one in enumerate(expressions))
    return tuple(field.type for field in fields_of(Project(node, named)))


def _inherited(node: Node, given: Sequence[Fields]) -> Fields | None:
    """The fields that a node has from its inputs; None if it computes some."""
    match node:
        case Leaf() | MapBatches() | KernelQuery():
            return node.fields
        case Project():
            return _chosen(node.expressions, given[0])
        case Aggregate(aggregates=()):
            return _chosen(node.keys, given[0])
        case Unnest():
            return None
        case SameColumns():
            return given[0]
        case Join():
            return given[0] + given[1] if node.kind.keeps_right_columns else given[0]
        case AsofJoin():
            return given[0] + given[1]
        case Union() | SetOperation():
            types = [[field.type for field in fields] for fields in given]
            return given[0] if all(one == types[0] for one in types) else None
    return None


def _chosen(expressions: Sequence[Named], given: Fields) -> Fields | None:
    if not all(isinstance(named.expression, exp.Column) for named in expressions):
        return None
    types = {field.name.casefold(): field.type for field in given}
    return tuple(
        Field(named.name, types[named.expression.name.casefold()]) for named in expressions
    )


def exported_fields(node: Node) -> Fields:
    """A node's columns as they come back after a journey through Arrow.

    The same as `fields_of`, but for aggregate states, which travel as ordinary structs and numbers.
    """
    fields = fields_of(node)
    if not any(map(_is_state, fields)):
        return fields
    types = exported_types(over_nothing(node, _writable))
    return tuple(
        Field(field.name, type_) if _is_state(field) else field
        for field, type_ in zip(fields, types, strict=True)
    )


def _is_state(field: Field) -> bool:
    return field.type.startswith("AGGREGATE_STATE")


def _writable(node: Node) -> Fields | None:
    """The fields of a node, if their types can be written: those of aggregate states cannot."""
    fields = _known.get(node)
    return None if fields is None or any(map(_is_state, fields)) else fields
