"""Partitions that are much larger than others, and whose rows may be shared out among several tasks.

A join can be done in pieces: each task reads some rows of one side and the whole partition of the
other. So can a fold before an exchange. What needs all rows with equal keys in one task cannot.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from flowgrid.expr.tree import Expr, is_deterministic
from flowgrid.logical.nodes import (
    Aggregate,
    Distinct,
    Filter,
    Join,
    Limit,
    MapBatches,
    Named,
    Node,
    Project,
    Sample,
    Sort,
    Unnest,
)
from flowgrid.logical.rendering import consumers, topological
from flowgrid.physical.aggregation import FinalAggregate, PartialAggregate
from flowgrid.physical.exchanges import StageRead
from flowgrid.physical.joins import MAY_BROADCAST_LEFT, MAY_BROADCAST_RIGHT

_SKEWED = 1.5
"""A partition is split if it is so many times what a task should read."""

_BY_ROWS = (Project, Filter, Unnest, MapBatches, Sample, PartialAggregate, Sort, Limit)
"""Verbs that do not mind in which task a row is. A sort or limit over hashed rows is the first of two:
its rows meet again."""

_SAME_AGAIN = (StageRead, Project, Filter, Unnest, Join, Aggregate, FinalAggregate, Distinct)
"""Verbs that make the same rows in every task that reads the same ones."""


def pieces_wanted(sizes: Sequence[int], bytes_per_task: float) -> Mapping[int, int]:
    """For every skewed one among partitions of these bytes: how many tasks should share it."""
    return {
        target: math.ceil(size / bytes_per_task)
        for target, size in enumerate(sizes)
        if size > _SKEWED * bytes_per_task > 0
    }


def divisible(root: Node) -> list[StageRead]:
    """Hashed relations below `root` of which one may be shared out by rows, the others read whole."""
    if any(count > 1 for count in consumers(root).values()):
        return []  # a relation that is read twice would be cut in both places
    found: list[StageRead] = []
    stack = [root]
    while stack:
        node = stack.pop()
        match node:
            case StageRead(broadcast=False):
                found.append(node)
            case Join():
                if node.kind in MAY_BROADCAST_RIGHT and _is_repeatable(node.right):
                    stack.append(node.left)
                if node.kind in MAY_BROADCAST_LEFT and _is_repeatable(node.left):
                    stack.append(node.right)
            case _ if isinstance(node, _BY_ROWS):
                stack.extend(node.inputs)
    return found


def _is_repeatable(root: Node) -> bool:
    return all(
        isinstance(node, _SAME_AGAIN) and all(map(is_deterministic, _expressions(node)))
        for node in topological(root)
    )


def _expressions(node: Node) -> list[Expr]:
    found: list[Expr] = []
    for value in vars(node).values():
        for one in value if isinstance(value, tuple) else (value,):
            if isinstance(one, Named):
                found.append(one.expression)
            elif isinstance(one, Expr):
                found.append(one)
    return found
