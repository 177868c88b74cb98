"""What a join does with the predicates above it and in it: which side may ask them, and what follows.

An outer join under a predicate that its filled-in NULLs cannot pass is a narrower join. Equal columns
that are compared with a constant are all compared with it. An OR over both sides says something about
each of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sqlglot import exp

from flowgrid.expr.tree import Expr, column, conjunction, replace_columns
from flowgrid.logical.nodes import (
    Aggregate,
    Filter,
    Join,
    JoinKind,
    KernelQuery,
    Leaf,
    MapBatches,
    Node,
    Project,
    Window,
)
from flowgrid.optimizer.boolean_algebra import implied_within, rejects_nulls, simplified
from flowgrid.optimizer.traits import (
    column_pair,
    is_literal,
    is_movable,
    names_of,
    plain_column,
    reads,
    reads_within,
)

Types: TypeAlias = Mapping[Node, Mapping[str, str]]
"""Of each node, the kernel types of those columns that come unchanged from a leaf."""


@dataclass
class PushedJoin:
    join: Join
    above: list[Expr]
    left: list[Expr]
    right: list[Expr]


def column_types(order: Sequence[Node]) -> Types:
    """Types by node and casefolded name, where they are known without asking the kernel."""
    found: dict[Node, Mapping[str, str]] = {}
    for node in order:
        inputs = [found[child] for child in node.inputs]
        match node:
            case Leaf() | MapBatches() | KernelQuery():
                found[node] = {field.name.casefold(): field.type for field in node.fields}
            case Project(expressions=expressions) | Aggregate(keys=expressions):
                pairs = ((named.name, plain_column(named.expression)) for named in expressions)
                found[node] = {
                    name.casefold(): inputs[0][source]
                    for name, source in pairs
                    if source is not None and source in inputs[0]
                }
            case Join():
                shown = inputs if node.kind.keeps_right_columns else inputs[:1]
                found[node] = {name: type_ for one in shown for name, type_ in one.items()}
            case Window() | Filter():
                found[node] = inputs[0]
            case _ if len(inputs) == 1 and node.columns == node.inputs[0].columns:
                found[node] = inputs[0]
            case _:
                found[node] = {}
    return found


def narrowed(kind: JoinKind, predicates: Sequence[Expr], left: Node, right: Node) -> JoinKind:
    """The kind that gives the same rows below predicates that NULLs do not pass."""
    if kind not in (JoinKind.LEFT, JoinKind.RIGHT, JoinKind.FULL):
        return kind
    of_left, of_right = names_of(left.columns), names_of(right.columns)
    left_needed = any(rejects_nulls(predicate, of_left) for predicate in predicates)
    right_needed = any(rejects_nulls(predicate, of_right) for predicate in predicates)
    if kind is JoinKind.FULL:
        if left_needed and right_needed:
            return JoinKind.INNER
        return JoinKind.LEFT if left_needed else JoinKind.RIGHT if right_needed else kind
    needed = right_needed if kind is JoinKind.LEFT else left_needed
    return JoinKind.INNER if needed else kind


def push_into_join(node: Join, predicates: list[Expr], types: Types) -> PushedJoin:
    """The join with the predicates above it dealt out; all of `above` must be asked on its rows."""
    kind = narrowed(node.kind, predicates, node.left, node.right)
    own = simplified(node.condition) if node.condition is not None else []
    sides = _Sides(names_of(node.left.columns), names_of(node.right.columns))
    equal = {**types[node.left], **types[node.right]}
    match kind:
        case JoinKind.INNER | JoinKind.CROSS | JoinKind.SEMI:
            found = _inner(sides, own, predicates, equal)
        case JoinKind.LEFT | JoinKind.ANTI:
            found = _left(sides, own, predicates, equal)
        case JoinKind.RIGHT:
            found = _left(_Sides(sides.right, sides.left), own, predicates, equal).mirrored()
        case JoinKind.FULL:
            found = _Dealt(own, predicates, [], [])
    condition = conjunction(found.condition)
    if kind in (JoinKind.INNER, JoinKind.CROSS):
        kind = JoinKind.CROSS if condition is None else JoinKind.INNER
    elif condition is None:
        condition = exp.Boolean(this=True)
    if kind is not node.kind or found.condition != own:
        node = dataclasses.replace(node, kind=kind, condition=condition)
    return PushedJoin(node, found.above, found.left, found.right)


@dataclass(frozen=True)
class _Sides:
    left: frozenset[str]
    right: frozenset[str]

    def of(self, predicate: Expr) -> str:
        """left, right or both; stuck if the predicate must stay where it is."""
        if not is_movable(predicate):
            return "stuck"
        if reads_within(predicate, self.left):
            return "left"
        return "right" if reads_within(predicate, self.right) else "both"


@dataclass
class _Dealt:
    condition: list[Expr]
    above: list[Expr]
    left: list[Expr]
    right: list[Expr]

    def mirrored(self) -> _Dealt:
        return _Dealt(self.condition, self.above, self.right, self.left)


def _inner(
    sides: _Sides, own: list[Expr], predicates: list[Expr], types: Mapping[str, str]
) -> _Dealt:
    dealt = _Dealt([], [], [], [])
    pool = own + predicates
    for part in dict.fromkeys(pool + transferred(pool, pool, types)):
        match sides.of(part):
            case "left":
                dealt.left.append(part)
            case "right":
                dealt.right.append(part)
            case _:
                dealt.condition.append(part)
    for part in dealt.condition:
        dealt.left += _implied(part, sides.left)
        dealt.right += _implied(part, sides.right)
    return dealt


def _left(
    sides: _Sides, own: list[Expr], predicates: list[Expr], types: Mapping[str, str]
) -> _Dealt:
    """Left outer and anti joins keep left rows without a partner: the condition cannot drop them."""
    dealt = _Dealt([], [], [], [])
    for part in predicates:
        (dealt.left if sides.of(part) == "left" else dealt.above).append(part)
    for part in own:
        (dealt.right if sides.of(part) == "right" else dealt.condition).append(part)
    # What holds for every left row, or must for a match, holds for its partners' equal columns.
    known = dealt.left + [part for part in dealt.condition if sides.of(part) == "left"]
    dealt.right += [
        part for part in transferred(known, dealt.condition, types) if sides.of(part) == "right"
    ]
    for part in dealt.condition:
        dealt.right += _implied(part, sides.right)
    return dealt


def _implied(predicate: Expr, columns: frozenset[str]) -> list[Expr]:
    found = implied_within(predicate, columns) if is_movable(predicate) else None
    return [] if found is None else [found]


_COMPARISONS = (exp.EQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.In, exp.Between)


def transferred(
    predicates: Sequence[Expr], equalities: Sequence[Expr], types: Mapping[str, str]
) -> list[Expr]:
    """Comparisons with constants, said of the columns that equal the one they are about.

    Only between columns of one type: a comparison across types casts, and means something else.
    """
    pairs = [pair for part in equalities if (pair := column_pair(part)) is not None]
    pairs = [(a, b) for a, b in pairs if types.get(a) is not None and types[a] == types.get(b)]
    if not pairs:
        return []
    said = set(predicates)
    found: list[Expr] = []
    waiting = [part for part in predicates if _is_comparison_with_constants(part)]
    while waiting:
        part = waiting.pop()
        (about,) = reads(part) or ("",)
        for a, b in pairs:
            if about in (a, b):
                new = replace_columns(part, {about: column(b if about == a else a)})
                if new not in said:
                    said.add(new)
                    found.append(new)
                    waiting.append(new)
    return found


def _is_comparison_with_constants(predicate: Expr) -> bool:
    if not isinstance(predicate, _COMPARISONS) or len(reads(predicate) or ()) != 1:
        return False
    arguments = list(predicate.iter_expressions())
    columns = [argument for argument in arguments if plain_column(argument) is not None]
    return len(columns) == 1 and all(
        argument is columns[0] or is_literal(argument) for argument in arguments
    )
