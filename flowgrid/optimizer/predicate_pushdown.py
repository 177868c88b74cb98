"""Predicates go down to the first place where they can be asked, so that what they drop is never moved.

One pass from the root to the leaves: every node is offered the predicates of the one consumer it has,
keeps above itself those that cannot pass, and hands the others on. What is shared is not entered,
since the other consumer needs the rows; a filter then stays on the edge. A filter that is not the same
each time it is asked is not moved, so every predicate on its way here is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from flowgrid.expr.tree import Expr, column, conjunction, replace_columns
from flowgrid.logical.fields import fields_of
from flowgrid.logical.nodes import (
    Aggregate,
    Distinct,
    Filter,
    Join,
    Node,
    Project,
    Repartition,
    SetOperation,
    Sort,
    Union,
    Unnest,
    Window,
)
from flowgrid.logical.rendering import topological
from flowgrid.optimizer.boolean_algebra import is_true, simplified
from flowgrid.optimizer.checks import is_check
from flowgrid.optimizer.join_predicates import Types, column_types, push_into_join
from flowgrid.optimizer.rewriting import is_rowwise, replacements, shared_nodes
from flowgrid.optimizer.traits import is_movable, names_of, plain_column, reads, reads_within


@dataclass
class _Pushed:
    """What became of a node and the predicates above it. `node` is None if it was but predicates."""

    node: Node | None
    above: list[Expr] = field(default_factory=list)
    below: list[list[Expr]] = field(default_factory=list)


def push_predicates(root: Node) -> Node:
    """The plan with every predicate as far down as it goes; see the module."""
    order = topological(root)
    shared = shared_nodes(root)
    types = column_types(order)
    offered: dict[Node, list[Expr]] = {root: []}
    pushed: dict[Node, _Pushed] = {}
    for node in reversed(order):
        found = pushed[node] = _push(node, offered.get(node, []), types)
        for child, predicates in zip(node.inputs, found.below, strict=True):
            if child not in shared:
                offered[child] = predicates
    built: dict[Node, Node] = {}
    for node in order:
        found = pushed[node]
        inputs = [
            filtered_by(built[child], predicates) if child in shared else built[child]
            for child, predicates in zip(node.inputs, found.below, strict=True)
        ]
        if found.node is None:
            built[node] = _again(node, inputs[0])
        else:
            made = found.node
            if any(new is not old for new, old in zip(inputs, made.inputs, strict=True)):
                made = made.with_inputs(inputs)
            built[node] = filtered_by(made, found.above)
    return built[root]


def _again(old: Node, built: Node) -> Node:
    """The old filter object where the new one says the same, so that nothing looks changed."""
    if isinstance(built, Filter) and isinstance(old, Filter):
        same = built.input is old.input and built.predicate == old.predicate
        return old if same else built
    return built


def filtered_by(node: Node, predicates: Iterable[Expr]) -> Node:
    """A filter by all the predicates, each once; the node itself if there are none."""
    kept = dict.fromkeys(predicates)
    if kept and isinstance(node, Filter) and is_movable(node.predicate):
        kept = dict.fromkeys([*simplified(node.predicate), *kept])
        node = node.input
    predicate = conjunction(part for part in kept if not is_true(part))
    return node if predicate is None else Filter(node, predicate)


def _split(predicates: Iterable[Expr], columns: frozenset[str]) -> tuple[list[Expr], list[Expr]]:
    """Those that can be asked where only these columns are, and the others."""
    inside: list[Expr] = []
    outside: list[Expr] = []
    for predicate in predicates:
        (inside if reads_within(predicate, columns) else outside).append(predicate)
    return inside, outside


def _push(node: Node, predicates: list[Expr], types: Types) -> _Pushed:
    match node:
        case Filter() if is_check(node.predicate):
            return _Pushed(node, [], [predicates])
        case Filter():
            own = simplified(node.predicate)
            if all(is_movable(part) for part in own):
                return _Pushed(None, [], [[*predicates, *own]])
            return _Pushed(node, predicates, [[]])
        case Project():
            return _push_through_project(node, predicates)
        case Aggregate():
            return _push_through_aggregate(node, predicates)
        case Window():
            inside, outside = _split(predicates, _partition_columns(node))
            inside, constant = _with_columns(inside)
            return _Pushed(node, outside + constant, [inside])
        case Join():
            found = push_into_join(node, predicates, types)
            return _Pushed(found.join, found.above, [found.left, found.right])
        case Union() | SetOperation():
            return _push_into_set(node, predicates)
        case Distinct():
            columns = names_of(node.on if node.on is not None else node.columns)
        case Sort() if node.limit is None and not node.offset:
            columns = names_of(node.columns)
        case Repartition():
            columns = names_of(node.columns)
        case Unnest():
            columns = names_of(node.columns) - {node.column.casefold()}
        case _:
            return _Pushed(node, predicates, [[] for _ in node.inputs])
    inside, outside = _split(predicates, columns)
    return _Pushed(node, outside, [inside])


def _with_columns(predicates: list[Expr]) -> tuple[list[Expr], list[Expr]]:
    """Those that read columns, and those that do not."""
    reading = [predicate for predicate in predicates if reads(predicate)]
    return reading, [predicate for predicate in predicates if not reads(predicate)]


def _push_through_project(node: Project, predicates: list[Expr]) -> _Pushed:
    if not is_rowwise(node):
        return _Pushed(node, predicates, [[]])
    inside, outside = _split(predicates, names_of(node.columns))
    meaning = replacements(node)
    return _Pushed(node, outside, [[replace_columns(part, meaning) for part in inside]])


def _push_through_aggregate(node: Aggregate, predicates: list[Expr]) -> _Pushed:
    keys = range(len(node.keys))
    in_all_sets = [i for i in keys if all(i in one for one in node.sets or ())]
    movable = [node.keys[i] for i in in_all_sets if is_movable(node.keys[i].expression)]
    inside, outside = _split(predicates, names_of(tuple(named.name for named in movable)))
    inside, constant = _with_columns(inside)  # an aggregate without keys has a row in any case
    meaning = {named.name.casefold(): named.expression for named in movable}
    below = [replace_columns(part, meaning) for part in inside]
    return _Pushed(node, outside + constant, [below])


def _partition_columns(node: Window) -> frozenset[str]:
    """The columns that every window of the node is partitioned by."""
    common: frozenset[str] | None = None
    for named in node.expressions:
        for window in named.expression.find_all(exp.Window):
            parts = window.args.get("partition_by") or ()
            found = frozenset(name for part in parts if (name := plain_column(part)) is not None)
            common = found if common is None else common & found
    return common or frozenset()


def _push_into_set(node: Union | SetOperation, predicates: list[Expr]) -> _Pushed:
    inside, outside = _split(predicates, names_of(node.columns))
    inside, constant = _with_columns(inside)
    if not inside:
        return _Pushed(node, predicates, [[] for _ in node.inputs])
    same = _columns_of_one_type(node.inputs)
    inside, mixed = _split(inside, names_of(tuple(node.columns[i] for i in same)))
    below: list[list[Expr]] = []
    for child in node.inputs:
        meaning: dict[str, Expr] = {
            ours.casefold(): column(theirs)
            for ours, theirs in zip(node.columns, child.columns, strict=True)
        }
        below.append([replace_columns(part, meaning) for part in inside])
    return _Pushed(node, outside + constant + mixed, below)


def _columns_of_one_type(inputs: Sequence[Node]) -> list[int]:
    """Positions at which no input is cast, so that a comparison means the same below and above."""
    schemas = [fields_of(child) for child in inputs]
    return [
        position
        for position, first in enumerate(schemas[0])
        if all(schema[position].type == first.type for schema in schemas)
    ]
