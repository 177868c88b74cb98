"""A region of joins as a graph: relations, and the predicates between them.

Inner and cross joins and the filters above them may be done in any order. A semi, anti or left join
hangs on the rest of the region: its right side is one `Appended` relation that joins as soon as the
relations which its condition reads are there. Sets of relations are bit masks.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import dataclass, field

from flowgrid.expr.tree import Expr, column, conjuncts, equality
from flowgrid.logical.nodes import Filter, Join, JoinKind, Node
from flowgrid.optimizer.join_predicates import Types
from flowgrid.optimizer.predicate_pushdown import filtered_by
from flowgrid.optimizer.traits import column_pair, is_movable, names_of, reads

REORDERED = (JoinKind.INNER, JoinKind.CROSS)
APPENDED = (JoinKind.SEMI, JoinKind.ANTI, JoinKind.LEFT)


@dataclass(frozen=True)
class Appended:
    """How a relation joins that cannot move freely, and what must be there before."""

    kind: JoinKind
    condition: tuple[Expr, ...]
    needs: int


@dataclass
class JoinGraph:
    """`predicates` with the relations they read; `classes` of columns that must all be equal, as
    (relation, column), between which any two equalities of one type are as good as any others.
    """

    relations: list[Node] = field(default_factory=list)
    appended: dict[int, Appended] = field(default_factory=dict)
    predicates: list[tuple[int, Expr]] = field(default_factory=list)
    classes: list[list[tuple[int, str]]] = field(default_factory=list)
    neighbours: list[int] = field(default_factory=list)

    def neighbourhood(self, mask: int) -> int:
        """The relations next to a set, without the set."""
        found = 0
        for relation in bits(mask):
            found |= self.neighbours[relation]
        return found & ~mask


def bits(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def region_below(root: Node, kept: Set[Node]) -> list[Node]:
    """The joins and filters that are one region with `root`; nodes in `kept` stay whole."""
    members: list[Node] = []
    stack = [root]
    while stack:
        node = stack.pop()
        if node is not root and node in kept:
            continue
        if isinstance(node, Filter) and is_movable(node.predicate):
            below = node.input
            while isinstance(below, Filter) and is_movable(below.predicate) and below not in kept:
                below = below.input
            if _is_member(below) and below not in kept:
                members.append(node)
                stack.append(node.input)
        elif _is_member(node):
            assert isinstance(node, Join)
            members.append(node)
            stack.append(node.left)
            if node.kind in REORDERED:
                stack.append(node.right)
    return members


def _is_member(node: Node) -> bool:
    if not isinstance(node, Join) or node.kind not in REORDERED + APPENDED:
        return False
    return node.condition is None or is_movable(node.condition)


def join_graph(members: list[Node], built: dict[Node, Node], types: Types) -> JoinGraph | None:
    """The graph of a region. None if names of hidden columns could meet in another order."""
    graph = JoinGraph()
    inside = set(members)
    owner: dict[str, int] = {}
    conditions: list[Expr] = []
    hanging: list[tuple[int, Join]] = []
    known: dict[str, str] = {}
    for node in members:
        if isinstance(node, Filter):
            conditions += conjuncts(node.predicate)
            continue
        assert isinstance(node, Join)
        if node.kind in REORDERED:
            conditions += conjuncts(node.condition)
        for side in (node.left, node.right):
            hangs = side is node.right and node.kind not in REORDERED
            if side in inside and not hangs:
                continue
            index = len(graph.relations)
            graph.relations.append(built[side])
            if hangs:
                hanging.append((index, node))
            known.update(types[side])
            for name in names_of(side.columns):
                if owner.setdefault(name, index) != index:
                    return None
    for index, join in hanging:
        condition = tuple(conjuncts(join.condition))
        needs = _mask(condition, owner) & ~(1 << index)
        if not needs:
            return None
        graph.appended[index] = Appended(join.kind, condition, needs)
    _classify(graph, conditions, owner, known)
    _filter_relations(graph)
    _connect(graph)
    return graph


def _mask(predicates: tuple[Expr, ...], owner: dict[str, int]) -> int:
    mask = 0
    for predicate in predicates:
        for name in reads(predicate) or ():
            mask |= 1 << owner[name]
    return mask


def _classify(
    graph: JoinGraph, conditions: list[Expr], owner: dict[str, int], types: dict[str, str]
) -> None:
    """Equalities of columns of one type to classes; everything else stays a predicate."""
    class_of: dict[str, list[tuple[int, str]]] = {}
    for predicate in dict.fromkeys(conditions):
        pair = column_pair(predicate)
        mask = _mask((predicate,), owner)
        same_type = pair and types.get(pair[0]) and types.get(pair[0]) == types.get(pair[1])
        # What a left join fills with NULL equals nothing that it did not equal before.
        if pair is None or not same_type or any(1 << i & mask for i in graph.appended):
            graph.predicates.append((mask, predicate))
            continue
        merged = {member: None for name in pair for member in class_of.get(name, [])}
        merged.update({(owner[name], name): None for name in pair})
        members = list(merged)
        class_of.update((name, members) for _, name in members)
    for members in {id(members): members for members in class_of.values()}.values():
        graph.classes.append(members)
        first: dict[int, str] = {}
        for relation, name in members:
            # Between relations any two members will do, so within one all must be equal beforehand.
            ours = first.setdefault(relation, name)
            if ours != name:
                graph.predicates.append((1 << relation, equality(column(ours), column(name))))


def _filter_relations(graph: JoinGraph) -> None:
    """Predicates on one relation that joins freely are filters of it."""
    others: list[tuple[int, Expr]] = []
    for mask, predicate in graph.predicates:
        index = mask.bit_length() - 1 if mask else 0
        if mask.bit_count() > 1 or index in graph.appended:
            others.append((mask, predicate))
        else:
            graph.relations[index] = filtered_by(graph.relations[index], [predicate])
    graph.predicates = others


def _connect(graph: JoinGraph) -> None:
    count = len(graph.relations)
    graph.neighbours = [0] * count
    groups = [mask for mask, _ in graph.predicates]
    groups += [sum({1 << relation for relation, _ in members}) for members in graph.classes]
    groups += [one.needs | 1 << index for index, one in graph.appended.items()]
    for mask in groups:
        for relation in bits(mask):
            graph.neighbours[relation] |= mask & ~(1 << relation)


def components(graph: JoinGraph) -> list[int]:
    """The connected parts of the graph."""
    rest = (1 << len(graph.relations)) - 1
    found: list[int] = []
    while rest:
        part = rest & -rest
        while more := graph.neighbourhood(part):
            part |= more
        found.append(part)
        rest &= ~part
    return found
