"""Few rows asked for are few rows made: a limit goes down to where the rows come from."""

from __future__ import annotations

import dataclasses
from collections.abc import Set

from flowgrid.logical.nodes import Join, JoinKind, Limit, Node, Project, Sort, Union
from flowgrid.optimizer.rewriting import is_rowwise, rewrite


def push_limits(root: Node) -> Node:
    """The plan with limits merged, sorts with a limit made top-n, and inputs limited beforehand."""
    return rewrite(root, _pushed)


def _pushed(node: Node, shared: Set[Node]) -> Node:
    if not isinstance(node, Limit):
        return node
    if node.limit is None and not node.offset:
        return node.input
    below = node.input
    match below:
        case Limit():
            limit, offset = _within(node, below.limit, below.offset)
            return _pushed(Limit(below.input, limit, offset), shared)
        case Sort():
            limit, offset = _within(node, below.limit, below.offset)
            return dataclasses.replace(below, limit=limit, offset=offset)
        case Project() if is_rowwise(below):
            return below.with_inputs([_pushed(Limit(below.input, node.limit, node.offset), shared)])
    if node.limit is None or below in shared:
        return node
    return node.with_inputs([_with_limited_inputs(below, node.limit + node.offset, shared)])


def _within(outer: Limit, limit: int | None, offset: int) -> tuple[int | None, int]:
    """Limit and offset in one that are `outer` after these."""
    left = None if limit is None else max(0, limit - outer.offset)
    kept = outer.limit if left is None else left if outer.limit is None else min(left, outer.limit)
    return kept, offset + outer.offset


def _with_limited_inputs(node: Node, rows: int, shared: Set[Node]) -> Node:
    """The node over inputs of which no more than `rows` rows can come into its first `rows`."""
    match node:
        case Union():
            return node.with_inputs([_limited(child, rows, shared) for child in node.inputs])
        case Join(kind=JoinKind.LEFT):
            return node.with_inputs([_limited(node.left, rows, shared), node.right])
        case Join(kind=JoinKind.RIGHT):
            return node.with_inputs([node.left, _limited(node.right, rows, shared)])
    return node


def _limited(node: Node, rows: int, shared: Set[Node]) -> Node:
    if isinstance(node, Limit | Sort) and node.limit is not None and node.limit <= rows:
        return node
    return _pushed(Limit(node, rows), shared)
