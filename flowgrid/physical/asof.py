"""ASOF joins: a left row meets the right rows with equal keys, or all of a small right side."""

from __future__ import annotations

import dataclasses
from functools import partial

from flowgrid.logical.nodes import AsofJoin
from flowgrid.physical.joins import join_keys
from flowgrid.physical.partitioning import Single
from flowgrid.physical.planning import Planning
from flowgrid.physical.stage_book import Pipeline, all_of


def plan_asof_join(planner: Planning, node: AsofJoin) -> Pipeline:
    """By hash of the equal keys; without one, or if it is small, the right side goes everywhere."""
    book, config = planner.book, planner.book.shape.config
    left, right = all_of(partial(planner.settled, node.left), partial(planner.settled, node.right))
    if isinstance(left.partitioning, Single) and isinstance(right.partitioning, Single):
        return Pipeline(dataclasses.replace(node, left=left.node, right=right.node), Single())
    keys = planner.decided(("keys", node), partial(join_keys, node))

    def is_small() -> bool:
        limit = config.planner_broadcast_bytes_max
        return not config.planner_force_exchanges and book.bytes_of(right.node) <= limit

    if keys is None or planner.decided(("small", node), is_small):
        whole = book.broadcast((node, "right"), right)
        tree = dataclasses.replace(node, left=left.node, right=whole)
        return Pipeline(tree, left.partitioning)
    targets = book.targets((node, "left"), left.node, right.node)
    met = all_of(
        partial(book.hashed, (node, "left"), left.node, keys.left, keys.types, targets),
        partial(book.hashed, (node, "right"), right.node, keys.right, keys.types, targets),
    )
    tree = dataclasses.replace(node, left=met[0].node, right=met[1].node)
    return Pipeline(tree, met[0].partitioning)
