"""Rows without a partner are dropped before they are folded: keys of one join side, below the other's.

Where a join meets groups, only the groups with a partner are of use. If the partners are few, they are
counted first, and only rows with their keys are read into the groups. This is sideways information
passing (Beeri and Ramakrishnan, "On the power of magic", 1987) with the real rows of a finished stage.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlglot import exp

from flowgrid.expr.tree import (
    Expr,
    column,
    columns_of,
    conjunction,
    is_deterministic,
    replace_columns,
)
from flowgrid.logical.nodes import (
    Aggregate,
    Distinct,
    Filter,
    Join,
    JoinKind,
    Named,
    Node,
    Project,
    Scan,
)
from flowgrid.physical.exchanges import StageRead

_DROPS_LEFT = frozenset((JoinKind.INNER, JoinKind.SEMI, JoinKind.RIGHT))
_DROPS_RIGHT = frozenset((JoinKind.INNER, JoinKind.SEMI, JoinKind.ANTI, JoinKind.LEFT))
REDUCES = {"left": _DROPS_LEFT, "right": _DROPS_RIGHT}
"""Kinds of joins to which a side's rows without a partner are of no use."""

_KEEPS_LEFT = frozenset((JoinKind.INNER, JoinKind.LEFT, JoinKind.SEMI, JoinKind.ANTI))
_KEEPS_RIGHT = frozenset((JoinKind.INNER, JoinKind.RIGHT))
"""Kinds that do the same to a side's rows with some keys as to these rows among all others."""

Keys = tuple[Expr, ...]


@dataclass(frozen=True, eq=False)
class Reduced(Node):
    """The rows of `input` whose keys are among those of `partners`, which every task reads whole.

    Keys are compared as the join will. Where that is by `=`, the kernel takes the partners' least and
    greatest key and a filter of their hashes down to a scan below, and reads no row group without them.
    """

    input: Node
    keys: Keys
    partners: Node
    comparisons: tuple[type[exp.EQ] | type[exp.NullSafeEQ], ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return self.input.columns

    def query(self, names: Sequence[str]) -> str:
        return self.over(self.input).query(names)

    def over(self, input_: Node) -> Join:
        """The same as a join, over the rows as they are planned."""
        equal = [
            compare(this=key.copy(), expression=column(name))
            for key, name, compare in zip(
                self.keys, self.partners.columns, self.comparisons, strict=True
            )
        ]
        return Join(input_, self.partners, JoinKind.SEMI, conjunction(equal))


def partners_of(read: StageRead, keys: Keys) -> Node:
    """The keys of a stage's rows, for `Reduced`."""
    whole = dataclasses.replace(read, broadcast=True)
    return Project(whole, tuple(Named(f"#f{i}", key) for i, key in enumerate(keys)))


@dataclass(frozen=True)
class Descent:
    """Where rows with given keys come from: below the last fold that keeps these keys apart."""

    node: Node
    keys: Keys
    folds: Node | None
    """The uppermost fold on the way, if there is one."""
    rebuilt: Callable[[Node], Node]
    """The side with another node in the place of `node`."""


def descend(side: Node, keys: Keys, is_shared: Callable[[Node], bool]) -> Descent:
    """Follow the keys down as far as they are one relation's; what others read too stays whole."""
    found = Descent(side, keys, None, lambda node: node)
    while not is_shared(found.node):
        step = _step(found)
        if step is None:
            break
        found = step
    return found


def _step(at: Descent) -> Descent | None:
    node = at.node
    match node:
        case Project():
            return _through(at, node.expressions, at.folds)
        case Aggregate(sets=None):
            return _through(at, node.keys, at.folds or node)
        case Distinct(on=None):
            return _below(at, 0, at.keys, at.folds or node)
        case Filter() if is_deterministic(node.predicate) and not isinstance(node.input, Scan):
            return _below(at, 0, at.keys, at.folds)
        case Join():
            read = {name.casefold() for key in at.keys for name in columns_of(key)}
            for index, kinds in enumerate((_KEEPS_LEFT, _KEEPS_RIGHT)):
                of_side = {name.casefold() for name in node.inputs[index].columns}
                if node.kind in kinds and read <= of_side:
                    return _below(at, index, at.keys, at.folds)
    return None


def _through(at: Descent, named: tuple[Named, ...], folds: Node | None) -> Descent | None:
    """Below a verb that makes its columns of these expressions."""
    values = {one.name.casefold(): one.expression for one in named}
    read = {name.casefold() for key in at.keys for name in columns_of(key)}
    if not read <= values.keys() or not all(is_deterministic(values[name]) for name in read):
        return None
    return _below(at, 0, tuple(replace_columns(key, values) for key in at.keys), folds)


def _below(at: Descent, index: int, keys: Keys, folds: Node | None) -> Descent:
    above = at.node

    def rebuilt(node: Node) -> Node:
        inputs = list(above.inputs)
        inputs[index] = node
        return at.rebuilt(above.with_inputs(inputs))

    return Descent(above.inputs[index], keys, folds, rebuilt)


def superset(node: Node, keys: Keys) -> StageRead | None:
    """A stage's rows that have all keys of `node`'s rows, and more at most."""
    read = {name.casefold() for key in keys for name in columns_of(key)}
    while not isinstance(node, StageRead):
        if isinstance(node, Filter) or (isinstance(node, Project) and _passes(node, read)):
            node = node.input
            continue
        if not isinstance(node, Join):
            return None
        sides = [
            side
            for side, kinds in ((node.left, _KEEPS_LEFT), (node.right, _KEEPS_RIGHT))
            if node.kind in kinds and read <= {name.casefold() for name in side.columns}
        ]
        if not sides:
            return None
        node = sides[0]
    return node if read <= {name.casefold() for name in node.columns} else None


def _passes(node: Project, names: set[str]) -> bool:
    """Whether these columns are the input's, of the same names."""
    same = {
        one.name.casefold()
        for one in node.expressions
        if isinstance(one.expression, exp.Column) and one.expression.name == one.name
    }
    return names <= same
