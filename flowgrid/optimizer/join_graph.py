"""A region of joins as a graph: relations, and the predicates between them.

Inner and cross joins, and the filters and renamings between them, may be done in any order. A semi, anti
or left join hangs on the rest of the region: its right side is one `Appended` relation, which joins as
soon as the relations that its condition reads are there. Sets of relations are bit masks.

Within a region every column has one name. Columns that are not seen above it give way where names meet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field

from flowgrid.expr.tree import Expr, column, conjuncts, equality, replace_columns
from flowgrid.logical.nodes import Filter, Join, JoinKind, Named, Node, Project
from flowgrid.optimizer.checks import is_check
from flowgrid.optimizer.join_predicates import Types
from flowgrid.optimizer.predicate_pushdown import filtered_by
from flowgrid.optimizer.traits import column_pair, is_movable, plain_column, reads

REORDERED = (JoinKind.INNER, JoinKind.CROSS)
APPENDED = (JoinKind.SEMI, JoinKind.ANTI, JoinKind.LEFT)


@dataclass(frozen=True)
class Appended:
    """How a relation joins that cannot move freely, and which relations must be there before."""

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


# -- which nodes are a region ----------------------------------------------------------------------


def region_below(root: Node, kept: Set[Node]) -> set[Node]:
    """The nodes that are one region with `root`, which is a join or a filter; nodes in `kept` are
    relations of it, whatever they are. Empty if there is no join.
    """
    members: set[Node] = set()
    stack = [root]
    while stack:
        node = stack.pop()
        if (node in kept and node is not root) or not _leads_to_join(node, root, kept):
            continue
        members.add(node)
        stack.append(node.inputs[0])
        if isinstance(node, Join) and node.kind in REORDERED:
            stack.append(node.right)
    return members


def _leads_to_join(node: Node, root: Node, kept: Set[Node]) -> bool:
    while node is root or node not in kept:
        if isinstance(node, Join):
            movable = node.condition is None or is_movable(node.condition)
            return movable and node.kind in REORDERED + APPENDED
        if (isinstance(node, Filter) and _goes_along(node.predicate)) or (
            isinstance(node, Project) and _only_renames(node)
        ):
            node = node.inputs[0]
        else:
            return False
    return False


def _goes_along(predicate: Expr) -> bool:
    return is_movable(predicate) and not is_check(predicate)


def _only_renames(node: Project) -> bool:
    sources = {plain_column(named.expression) for named in node.expressions}
    return None not in sources and len(sources) == len(node.expressions)


# -- the graph of a region -------------------------------------------------------------------------


def join_graph(
    root: Node, members: Set[Node], built: Mapping[Node, Node], types: Types
) -> JoinGraph:
    """The graph of the region with that root; `built` has what its relations have become."""
    region = _Region(root, members, built, types)
    return region.graph


class _Region:
    """The walk over a region, left sides first, with the names that columns have in the graph."""

    def __init__(
        self, root: Node, members: Set[Node], built: Mapping[Node, Node], types: Types
    ) -> None:
        self.graph = JoinGraph()
        self._built = built
        self._types_of = types
        self._owner: dict[str, int] = {}
        self._types: dict[str, str] = {}
        self._taken: set[str] = set()
        conditions: list[Expr] = []
        hanging: dict[Node, tuple[Join, Mapping[str, str], int]] = {}
        stack: list[tuple[Node, Mapping[str, str]]] = [(root, self._names(root.columns, {}))]
        while stack:
            node, names = stack.pop()
            if node not in members or node in hanging:
                index = self._add(node, names)
                if node in hanging:
                    join, all_names, first = hanging[node]
                    condition = tuple(_renamed(join.condition, all_names))
                    needs = self._mask(*condition) & ~(1 << index) or 1 << first
                    self.graph.appended[index] = Appended(join.kind, condition, needs)
                continue
            if isinstance(node, Filter):
                conditions += _renamed(node.predicate, names)
                stack.append((node.input, names))
            elif isinstance(node, Project):
                stack.append((node.input, self._names_below(node, names)))
            elif isinstance(node, Join):
                sides = {**names, **self._names(node.right.columns, names)}
                stack += [(node.right, sides), (node.left, sides)]
                if node.kind in REORDERED:
                    conditions += _renamed(node.condition, sides)
                else:
                    hanging[node.right] = (node, sides, len(self.graph.relations))
        self._classify(conditions)
        self._filter_relations()
        self._connect()

    def _names(self, columns: tuple[str, ...], given: Mapping[str, str]) -> dict[str, str]:
        """Of each column, by casefolded name, what it is called in the region."""
        names: dict[str, str] = {}
        for name in columns:
            folded = name.casefold()
            new = given.get(folded)
            if new is None:
                new, number = name, 0
                while new.casefold() in self._taken:
                    number += 1
                    new = f"{name}#{number}"
                self._taken.add(new.casefold())
            names[folded] = new
        return names

    def _names_below(self, node: Project, names: Mapping[str, str]) -> dict[str, str]:
        seen = {
            plain_column(named.expression) or "": names[named.name.casefold()]
            for named in node.expressions
        }
        return self._names(node.input.columns, seen)

    def _add(self, node: Node, names: Mapping[str, str]) -> int:
        index = len(self.graph.relations)
        renamed = tuple(
            Named(names[name.casefold()], column(name)) for name in self._built[node].columns
        )
        same = all(one.name == name for one, name in zip(renamed, node.columns, strict=True))
        relation = self._built[node]
        self.graph.relations.append(relation if same else Project(relation, renamed))
        for one in renamed:
            self._owner[one.name.casefold()] = index
        for name, type_ in self._types_of[node].items():
            self._types[names[name].casefold()] = type_
        return index

    def _mask(self, *predicates: Expr) -> int:
        mask = 0
        for predicate in predicates:
            for name in reads(predicate) or ():
                mask |= 1 << self._owner[name]
        return mask

    def _classify(self, conditions: list[Expr]) -> None:
        """Equalities of columns of one type to classes; everything else stays a predicate."""
        graph, types = self.graph, self._types
        class_of: dict[str, list[tuple[int, str]]] = {}
        for predicate in dict.fromkeys(conditions):
            pair = column_pair(predicate)
            mask = self._mask(predicate)
            # A column that a left join fills with NULL is not equal before that join is done.
            if (
                pair is None
                or types.get(pair[0]) is None
                or types[pair[0]] != types.get(pair[1])
                or any(1 << index & mask for index in graph.appended)
            ):
                graph.predicates.append((mask, predicate))
                continue
            merged = {member: None for name in pair for member in class_of.get(name, [])}
            merged.update({(self._owner[name], name): None for name in pair})
            members = list(merged)
            class_of.update((name, members) for _, name in members)
        for members in {id(members): members for members in class_of.values()}.values():
            graph.classes.append(members)
            first: dict[int, str] = {}
            for relation, name in members:
                # Between relations any two members will do: within one all are equal beforehand.
                ours = first.setdefault(relation, name)
                if ours != name:
                    graph.predicates.append((1 << relation, equality(column(ours), column(name))))

    def _filter_relations(self) -> None:
        """Predicates on one relation that joins freely are filters of it."""
        others: list[tuple[int, Expr]] = []
        for mask, predicate in self.graph.predicates:
            index = mask.bit_length() - 1 if mask else 0
            if mask.bit_count() > 1 or index in self.graph.appended:
                others.append((mask, predicate))
            else:
                relations = self.graph.relations
                relations[index] = filtered_by(relations[index], [predicate])
        self.graph.predicates = others

    def _connect(self) -> None:
        graph = self.graph
        graph.neighbours = [0] * len(graph.relations)
        groups = [mask for mask, _ in graph.predicates]
        groups += [sum({1 << relation for relation, _ in members}) for members in graph.classes]
        groups += [one.needs | 1 << index for index, one in graph.appended.items()]
        for mask in groups:
            for relation in bits(mask):
                graph.neighbours[relation] |= mask & ~(1 << relation)


def _renamed(predicate: Expr | None, names: Mapping[str, str]) -> Iterator[Expr]:
    """The conjuncts in the region's names."""
    changed = {old: column(new) for old, new in names.items() if old != new.casefold()}
    for part in conjuncts(predicate):
        read = reads(part) or frozenset()
        yield replace_columns(part, changed) if read & changed.keys() else part
