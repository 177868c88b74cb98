"""Joins in the order that moves and makes the fewest bytes, by estimate."""

from __future__ import annotations

from flowgrid.expr.tree import Expr, column, conjunction, equality
from flowgrid.logical.nodes import Filter, Join, JoinKind, Node
from flowgrid.logical.rendering import topological
from flowgrid.optimizer.estimates import Estimator
from flowgrid.optimizer.join_enumeration import Enumeration, Ordered
from flowgrid.optimizer.join_graph import join_graph, region_below
from flowgrid.optimizer.join_predicates import column_types
from flowgrid.optimizer.predicate_pushdown import filtered_by
from flowgrid.optimizer.rewriting import selection, shared_nodes, with_inputs


def order_joins(root: Node, estimator: Estimator, broadcast_bytes_max: float) -> Node:
    """The plan with every region of joins reordered; relations and predicates stay as they are."""
    order = topological(root)
    types = column_types(order)
    regions = _regions(order, root)
    inside = {member for top, members in regions.items() for member in members if member is not top}
    built: dict[Node, Node] = {}
    for node in order:
        if node in regions:
            graph = join_graph(node, regions[node], built, types)
            estimates = [estimator.estimate(relation) for relation in graph.relations]
            best = Enumeration(graph, estimates, broadcast_bytes_max).best()
            built[node] = selection(_tree(best, graph.relations), node.columns)
        elif node not in inside:
            built[node] = with_inputs(node, built)
    return built[root]


def _regions(order: list[Node], root: Node) -> dict[Node, set[Node]]:
    """The members of every region by its topmost node."""
    shared = shared_nodes(root)
    regions: dict[Node, set[Node]] = {}
    inside: set[Node] = set()
    for node in reversed(order):
        if isinstance(node, Join | Filter) and node not in inside:
            members = region_below(node, shared)
            if members:
                regions[node] = members
                inside |= members
    return regions


def _tree(found: Ordered, relations: list[Node]) -> Node:
    if found.left is None or found.right is None:
        return relations[found.mask.bit_length() - 1]
    left, right = _tree(found.left, relations), _tree(found.right, relations)
    keys: list[Expr] = [equality(column(ours), column(theirs)) for ours, theirs in found.keys]
    condition = None if found.kind is JoinKind.CROSS else conjunction([*keys, *found.rest])
    return filtered_by(Join(left, right, found.kind, condition), found.after)
