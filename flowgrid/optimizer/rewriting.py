"""A plan made anew, node by node, inputs first: without recursion, each shared node once."""

from __future__ import annotations

from collections.abc import Callable, Set
from typing import TypeAlias

from flowgrid.expr.tree import Expr, column
from flowgrid.logical.nodes import Filter, Named, Node, Project, Scan
from flowgrid.logical.rendering import consumers, topological
from flowgrid.optimizer.traits import is_movable

Rule: TypeAlias = Callable[[Node, Set[Node]], Node]
"""A node over its new inputs, and the new nodes that have several consumers → what replaces it."""


def rewrite(root: Node, rule: Rule) -> Node:
    """`rule` applied to every node once; what it leaves alone stays the same object."""
    counts = consumers(root)
    new: dict[Node, Node] = {}
    shared: set[Node] = set()
    for node in topological(root):
        new[node] = rule(with_inputs(node, new), shared)
        if counts.get(node, 0) > 1:
            shared.add(new[node])
    return new[root]


def with_inputs(node: Node, new: dict[Node, Node]) -> Node:
    """The node over what its inputs have become."""
    inputs = node.inputs
    if all(new[child] is child for child in inputs):
        return node
    return node.with_inputs([new[child] for child in inputs])


def shared_nodes(root: Node) -> set[Node]:
    """The nodes with several consumers."""
    return {node for node, count in consumers(root).items() if count > 1}


def is_rowwise(project: Project) -> bool:
    """Whether each output row depends on its input row only, and is the same each time."""
    return all(is_movable(named.expression) for named in project.expressions)


def selection(node: Node, columns: tuple[str, ...]) -> Node:
    """The node with these of its columns, in this order; itself if it has just them."""
    if node.columns == columns:
        return node
    return Project(node, tuple(Named(name, column(name)) for name in columns))


def replacements(project: Project) -> dict[str, Expr]:
    """By casefolded name, what each column of the project is over its input."""
    return {named.name.casefold(): named.expression for named in project.expressions}


def unshare(root: Node) -> Node:
    """Shared scans with nothing but filters and row-wise projections on top become one for each
    reader: each then gets predicates and columns of its own, and no exchange keeps them apart.
    """
    counts = consumers(root)
    light: set[Node] = set()
    split: set[Node] = set()  # light, and there is a shared node in the chain
    for node in topological(root):
        if not _is_light(node) or any(child not in light for child in node.inputs):
            continue
        light.add(node)
        if counts.get(node, 0) > 1 or any(child in split for child in node.inputs):
            split.add(node)
    new: dict[Node, Node] = {}
    for node in topological(root):
        if node in light or not any(child in split for child in node.inputs):
            new[node] = with_inputs(node, new)
        else:
            inputs = [_copy(child) if child in split else new[child] for child in node.inputs]
            new[node] = node.with_inputs(inputs)
    return new[root]


def _is_light(node: Node) -> bool:
    match node:
        case Scan():
            return True
        case Project():
            return is_rowwise(node)
        case Filter():
            return is_movable(node.predicate)
    return False


def _copy(chain: Node) -> Node:
    links: list[Node] = [chain]
    while links[-1].inputs:
        links.append(links[-1].inputs[0])
    copy: Node = links.pop()
    assert isinstance(copy, Scan)
    copy = Scan(copy.fields, copy.dataset)
    for link in reversed(links):
        copy = link.with_inputs([copy])
    return copy
