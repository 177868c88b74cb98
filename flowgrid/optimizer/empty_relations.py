"""What can have no rows is not computed: a filter that is false, and what it makes empty above it."""

from __future__ import annotations

from collections.abc import Set

from flowgrid.logical.fields import fields_of
from flowgrid.logical.nodes import (
    Aggregate,
    Distinct,
    Filter,
    GivenTable,
    Join,
    JoinKind,
    Limit,
    Node,
    Project,
    Repartition,
    Sample,
    Sort,
    Union,
    Unnest,
    Window,
)
from flowgrid.logical.schema import arrow_schema
from flowgrid.optimizer.boolean_algebra import is_false, simplified
from flowgrid.optimizer.rewriting import rewrite, selection


def drop_empty_relations(root: Node) -> Node:
    return rewrite(root, _reduced)


def _is_empty(node: Node) -> bool:
    return isinstance(node, GivenTable) and node.table.num_rows == 0


def _empty(node: Node) -> Node:
    """A relation without rows that has the node's columns."""
    fields = fields_of(node)
    return GivenTable(fields, arrow_schema(fields).empty_table())


def _reduced(node: Node, shared: Set[Node]) -> Node:
    match node:
        case Filter():
            said = simplified(node.predicate)
            empty = _is_empty(node.input) or (bool(said) and is_false(said[0]))
        case Limit(limit=0) | Sort(limit=0):
            empty = True
        case Project() | Window() | Sort() | Limit() | Sample() | Distinct() | Repartition():
            empty = _is_empty(node.input)
        case Unnest():
            empty = _is_empty(node.input)
        case Aggregate():
            empty = _is_empty(node.input) and bool(node.keys) and node.sets is None
        case Join():
            return _reduced_join(node)
        case Union():
            return _reduced_union(node)
        case _:
            empty = False
    return _empty(node) if empty else node


def _reduced_join(node: Join) -> Node:
    left, right = _is_empty(node.left), _is_empty(node.right)
    match node.kind:
        case JoinKind.INNER | JoinKind.CROSS | JoinKind.SEMI:
            return _empty(node) if left or right else node
        case JoinKind.LEFT:
            return _empty(node) if left else node
        case JoinKind.RIGHT:
            return _empty(node) if right else node
        case JoinKind.ANTI:
            return _empty(node) if left else node.left if right else node
        case JoinKind.FULL:
            return _empty(node) if left and right else node


def _reduced_union(node: Union) -> Node:
    """The union of the inputs with rows, if they give the columns and types that all gave."""
    kept = tuple(child for child in node.relations if not _is_empty(child))
    if len(kept) == len(node.relations):
        return node
    if not kept:
        return _empty(node)
    rest = kept[0] if len(kept) == 1 else Union(kept)
    same = fields_of(rest) == fields_of(node) and rest.columns == node.columns
    return selection(rest, node.columns) if same else node
