"""What a join's condition says about where its rows must meet."""

from __future__ import annotations

from dataclasses import dataclass

from sqlglot import exp

from flowgrid.expr.tree import Expr, columns_of, conjuncts, is_deterministic
from flowgrid.logical.fields import types_of
from flowgrid.logical.nodes import AsofJoin, Join, JoinKind
from flowgrid.physical.partitioning import hash_type

MAY_BROADCAST_RIGHT = frozenset(
    (JoinKind.INNER, JoinKind.LEFT, JoinKind.SEMI, JoinKind.ANTI, JoinKind.CROSS)
)
"""Kinds whose right side every task may have whole: none of its rows is kept for itself."""

MAY_BROADCAST_LEFT = frozenset((JoinKind.INNER, JoinKind.RIGHT, JoinKind.CROSS))


@dataclass(frozen=True)
class JoinKeys:
    """Pairs of expressions that must be equal, one over each side, and how to hash them.

    `types[i]` is the type in which the i-th pair is hashed; `left_types` and `right_types` are what
    the sides have. `comparisons[i]` tells whether NULL is equal to NULL.
    """

    left: tuple[Expr, ...]
    right: tuple[Expr, ...]
    left_types: tuple[str, ...]
    right_types: tuple[str, ...]
    types: tuple[str, ...]
    comparisons: tuple[type[exp.EQ] | type[exp.NullSafeEQ], ...]


def join_keys(join: Join | AsofJoin) -> JoinKeys | None:
    """The hashable equalities of a join's condition; None if there is not one."""
    left_names = {name.casefold() for name in join.left.columns}
    right_names = {name.casefold() for name in join.right.columns}
    pairs: list[tuple[Expr, Expr, type[exp.EQ] | type[exp.NullSafeEQ]]] = []
    for part in conjuncts(join.condition):
        if not isinstance(part, exp.EQ | exp.NullSafeEQ) or not is_deterministic(part):
            continue
        one, other = part.left.unnest(), part.right.unnest()
        reads_one = {name.casefold() for name in columns_of(one)}
        reads_other = {name.casefold() for name in columns_of(other)}
        if not reads_one or not reads_other:
            continue
        if reads_one <= left_names and reads_other <= right_names:
            pairs.append((one, other, type(part)))
        elif reads_one <= right_names and reads_other <= left_names:
            pairs.append((other, one, type(part)))
    if not pairs:
        return None
    left_types = types_of(join.left, [left for left, _, _ in pairs])
    right_types = types_of(join.right, [right for _, right, _ in pairs])
    kept = [
        (pair, have_left, have_right, wanted)
        for pair, have_left, have_right in zip(pairs, left_types, right_types, strict=True)
        if (wanted := hash_type(have_left, have_right)) is not None
    ]
    if not kept:
        return None
    return JoinKeys(
        left=tuple(pair[0] for pair, _, _, _ in kept),
        right=tuple(pair[1] for pair, _, _, _ in kept),
        left_types=tuple(have for _, have, _, _ in kept),
        right_types=tuple(have for _, _, have, _ in kept),
        types=tuple(wanted for _, _, _, wanted in kept),
        comparisons=tuple(pair[2] for pair, _, _, _ in kept),
    )
