"""Only the columns that somebody uses are read, computed and moved."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence

from flowgrid.expr.tree import Expr
from flowgrid.logical.nodes import (
    Aggregate,
    AsofJoin,
    Distinct,
    Filter,
    GivenTable,
    Join,
    Leaf,
    Limit,
    Named,
    Node,
    Project,
    Repartition,
    Sample,
    Scan,
    Sort,
    Union,
    Unnest,
    Window,
)
from flowgrid.logical.rendering import topological
from flowgrid.optimizer.rewriting import selection, shared_nodes, with_inputs
from flowgrid.optimizer.traits import names_of, reads
from flowgrid.protocol.fragment import Field


def prune_columns(root: Node) -> Node:
    """The plan in which every leaf and verb has the columns that are read, the root all it had."""
    return _pruned_plan(root, narrow=False)


def narrow_exchanges(root: Node) -> Node:
    """The same, and what goes into a join, sort or window loses the columns needed only below."""
    return _pruned_plan(root, narrow=True)


def narrow_shared(root: Node) -> Node:
    """The same, and a join with several readers, which is kept for them, keeps what they read."""
    order = topological(root)
    needed, _ = _demand(root, order)
    shared = shared_nodes(root)
    built: dict[Node, Node] = {}
    for node in order:
        built[node] = with_inputs(node, built)
        if node in shared and isinstance(node, Join):
            built[node] = _narrow(built[node], frozenset(needed[node]), exactly=False)
    return built[root]


def _demand(
    root: Node, order: Sequence[Node]
) -> tuple[dict[Node, set[str]], dict[Node, list[frozenset[str]]]]:
    """The columns that somebody reads of every node, and those that it reads of each input."""
    needed: dict[Node, set[str]] = {node: set() for node in order}
    needed[root] = set(names_of(root.columns))
    edges: dict[Node, list[frozenset[str]]] = {}
    for node in reversed(order):
        edges[node] = _needs(node, needed[node])
        for child, names in zip(node.inputs, edges[node], strict=True):
            needed[child] |= names
    return needed, edges


def _pruned_plan(root: Node, narrow: bool) -> Node:
    order = topological(root)
    needed, edges = _demand(root, order)
    built: dict[Node, Node] = {}
    for node in order:
        inputs = [built[child] for child in node.inputs]
        if isinstance(node, Union) or (narrow and isinstance(node, _MAY_EXCHANGE)):
            inputs = [
                _narrow(child, names, exactly=isinstance(node, Union))
                for child, names in zip(inputs, edges[node], strict=True)
            ]
        built[node] = _pruned(node, inputs, needed[node])
    return built[root]


_MAY_EXCHANGE = (AsofJoin, Join, Sort, Window, Repartition)


def _read(expressions: Iterable[Expr], given: Node) -> frozenset[str]:
    """The columns of `given` that the expressions read: all of them if one does not tell."""
    names: set[str] = set()
    available = names_of(given.columns)
    for expression in expressions:
        found = reads(expression)
        if found is None:
            return available
        names |= found
    return frozenset(names) & available


def _kept(named: tuple[Named, ...], needed: set[str]) -> tuple[Named, ...]:
    return tuple(one for one in named if one.name.casefold() in needed)


def _kept_aggregates(node: Aggregate, needed: set[str]) -> tuple[Named, ...]:
    # One row in all is one row even if nobody looks at it, and SQL needs something to select.
    return _kept(node.aggregates, needed) or (() if node.keys else node.aggregates[:1])


def _needs(node: Node, needed: set[str]) -> list[frozenset[str]]:
    """Of each input, the columns needed to give the needed columns of the node."""
    wanted = frozenset(needed)
    match node:
        case Leaf():
            return []
        case Project():
            kept = _kept(node.expressions, needed)
            return [_read((named.expression for named in kept), node.input)]
        case Filter():
            return [wanted | _read([node.predicate], node.input)]
        case Aggregate():
            kept = node.keys + _kept_aggregates(node, needed)
            return [_read((named.expression for named in kept), node.input)]
        case Window():
            kept = _kept(node.expressions, needed)
            names = _read((named.expression for named in kept), node.input)
            return [names | wanted & names_of(node.input.columns)]
        case Sort():
            return [wanted | _read((key.expression for key in node.keys), node.input)]
        case Repartition():
            return [wanted | _read(node.keys, node.input)]
        case Limit() | Sample():
            return [wanted]
        case Unnest():
            return [wanted | {node.column.casefold()}]
        case Distinct(on=on) if on is not None:
            order = _read((key.expression for key in node.order), node.input)
            return [wanted | names_of(on) | order]
        case Join() | AsofJoin():
            asked = [] if node.condition is None else [node.condition]
            return [
                _read(asked, side) | wanted & names_of(side.columns)
                for side in (node.left, node.right)
            ]
        case Union():
            positions = [i for i, name in enumerate(node.columns) if name.casefold() in needed]
            return [names_of(tuple(child.columns[i] for i in positions)) for child in node.inputs]
    return [names_of(child.columns) for child in node.inputs]


def _narrow(child: Node, names: frozenset[str], exactly: bool) -> Node:
    """The child without columns that this consumer does not read. A relation keeps its last column
    unless all consumers drop it alike: a union counts rows as well.
    """
    kept = tuple(name for name in child.columns if name.casefold() in names)
    if len(kept) == len(child.columns) or (not kept and not exactly):
        return child
    return selection(child, kept)


def _pruned(node: Node, inputs: list[Node], needed: set[str]) -> Node:
    if inputs:
        node = node if tuple(inputs) == node.inputs else node.with_inputs(inputs)
    match node:
        case Scan():
            fields = _kept_fields(node, needed)
            return node if len(fields) == len(node.fields) else Scan(fields, node.dataset)
        case GivenTable():
            fields = _kept_fields(node, needed)
            if len(fields) < len(node.fields):
                return GivenTable(fields, node.table.select([field.name for field in fields]))
        case Project() if len(kept := _kept(node.expressions, needed)) < len(node.expressions):
            return Project(node.input, kept)
        case Aggregate():
            aggregates = _kept_aggregates(node, needed)
            if len(aggregates) < len(node.aggregates):
                return dataclasses.replace(node, aggregates=aggregates)
        case Window():
            expressions = _kept(node.expressions, needed)
            if not expressions:
                return node.input
            if len(expressions) < len(node.expressions):
                return Window(node.input, expressions)
    return node


def _kept_fields(leaf: Leaf, needed: set[str]) -> tuple[Field, ...]:
    return tuple(field for field in leaf.fields if field.name.casefold() in needed)
