"""The rules, in the order in which they help each other, each run a fixed number of times.

Every rule is a function from plan to plan that keeps the columns, their order and the multiset of rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from flowgrid.config import Config
from flowgrid.logical.nodes import KernelQuery, Node
from flowgrid.logical.rendering import topological
from flowgrid.optimizer.column_pruning import narrow_exchanges, narrow_shared, prune_columns
from flowgrid.optimizer.constant_folding import fold_constants
from flowgrid.optimizer.empty_relations import drop_empty_relations
from flowgrid.optimizer.estimates import Estimator, Size
from flowgrid.optimizer.join_order import order_joins
from flowgrid.optimizer.limit_pushdown import push_limits
from flowgrid.optimizer.predicate_pushdown import push_predicates
from flowgrid.optimizer.projection_merging import merge_projections
from flowgrid.optimizer.rewriting import selection, unshare, with_inputs

PlanRule: TypeAlias = Callable[[Node], Node]

BEFORE_JOIN_ORDER: tuple[PlanRule, ...] = (
    merge_projections,
    unshare,
    fold_constants,
    push_predicates,
    drop_empty_relations,
    prune_columns,
    merge_projections,
)
"""Filters at the scans and no column too many: only then do estimates mean something."""

AFTER_JOIN_ORDER: tuple[PlanRule, ...] = (
    push_limits,
    narrow_exchanges,
    merge_projections,
    narrow_shared,
)


def optimize(
    root: Node,
    actual: Mapping[Node, Size] | None = None,
    broadcast_bytes_max: float = Config().planner_broadcast_bytes_max,
) -> Node:
    """The same relation by a cheaper plan. `actual` has the sizes of nodes that have run."""
    plan = bound_queries(root)
    for rule in BEFORE_JOIN_ORDER:
        plan = rule(plan)
    plan = order_joins(plan, Estimator(actual), broadcast_bytes_max)
    for rule in AFTER_JOIN_ORDER:
        plan = rule(plan)
    return plan


def bound_queries(root: Node) -> Node:
    """Queries of the user as the nodes they are bound to, where they are."""
    built: dict[Node, Node] = {}
    for node in topological(root, _inside):
        if isinstance(node, KernelQuery) and node.bound is not None:
            built[node] = selection(built[node.bound], node.columns)
        else:
            built[node] = with_inputs(node, built)
    return built[root]


def _inside(node: Node) -> tuple[Node, ...]:
    if isinstance(node, KernelQuery) and node.bound is not None:
        return (node.bound,)
    return node.inputs
