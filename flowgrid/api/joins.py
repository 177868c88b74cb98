"""Joins with Polars' columns: one key column, and a suffix where both sides have a name.

The logical `Join` wants sides that share no names. So the right side is renamed first, its keys to
names nobody else has, and what should be seen is selected above.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec
from sqlglot import exp

from flowgrid.api.column import Column, IntoColumn, flatten, into_column
from flowgrid.api.selections import only
from flowgrid.errors import PlanError
from flowgrid.expr.names import find_name, fresh_names, resolve
from flowgrid.expr.tree import Expr, column, conjunction, equality, replace_columns
from flowgrid.logical.nodes import Join, JoinKind, Named, Node, Project, unique_names

Keys = IntoColumn | Sequence[IntoColumn]

_KINDS = {kind.value: kind for kind in JoinKind} | {
    "outer": JoinKind.FULL,
    "full_outer": JoinKind.FULL,
}


class _Key(msgspec.Struct, frozen=True):
    """One equality of a join, each side over its own relation."""

    left: Expr
    right: Expr


def join(
    left: Node,
    right: Node,
    *,
    on: Keys = None,
    left_on: Keys = None,
    right_on: Keys = None,
    how: str = "inner",
    suffix: str = "_right",
    coalesce: bool = True,
) -> Node:
    """Pairs of rows with equal keys, or for which the condition `on` is true.

    A condition names columns as the result does: those of the left, and of the right with `suffix`
    where both have the name.
    """
    kind = _kind(how)
    if kind is JoinKind.CROSS:
        if on is not None or left_on is not None or right_on is not None:
            raise PlanError("a cross join has no keys")
        return Join(left, _renamed(right, _suffixed(left, right, suffix)), kind)
    keys = _keys(left, right, on, left_on, right_on)
    if keys is None:
        new = _suffixed(left, right, suffix)
        names = left.columns + tuple(new.values())
        conditions = [
            resolve(into_column(one, names).expression, names, "join") for one in flatten([on])
        ]
        return Join(left, _renamed(right, new), kind, conjunction(conditions))
    return _join_on_keys(left, right, kind, keys, suffix, coalesce)


def _kind(how: str) -> JoinKind:
    kind = _KINDS.get(how)
    if kind is None:
        raise PlanError(f"how={how!r} is no kind of join: {', '.join(JoinKind)}")
    return kind


def _keys(left: Node, right: Node, on: Keys, left_on: Keys, right_on: Keys) -> list[_Key] | None:
    """The equalities of the join, or None if `on` is a condition over both sides."""
    if (left_on is None) != (right_on is None) or (on is None) == (left_on is None):
        raise PlanError("a join needs on=, or both left_on= and right_on=")
    if on is not None:
        given = flatten([on])
        if not all(_is_name(value, left) or _is_name(value, right) for value in given):
            return None
        left_on = right_on = given
    lefts, rights = flatten([left_on]), flatten([right_on])
    if len(lefts) != len(rights) or not lefts:
        raise PlanError(f"left_on has {len(lefts)} keys and right_on {len(rights)}")
    return [
        _Key(
            resolve(into_column(a, left.columns).expression, left.columns, "the left side of join"),
            resolve(into_column(b, right.columns).expression, right.columns, "the right side of join"),
        )
        for a, b in zip(lefts, rights, strict=True)
    ]  # fmt: skip


def _is_name(value: IntoColumn, node: Node) -> bool:
    if isinstance(value, str):
        return value.isidentifier() or value in node.columns
    return isinstance(value, Column) and isinstance(value.expression, exp.Column)


def _join_on_keys(
    left: Node, right: Node, kind: JoinKind, keys: Sequence[_Key], suffix: str, coalesce: bool
) -> Node:
    # The side whose key columns are not shown: their values are those of the other side.
    merged = coalesce and kind.keeps_right_columns
    left_keys = _key_columns([key.left for key in keys]) if merged else []
    right_keys = _key_columns([key.right for key in keys]) if merged else []
    if len(left_keys) != len(right_keys):
        left_keys = right_keys = []  # a key that is computed has no column to merge
    if kind is JoinKind.RIGHT:
        hidden_left, hidden_right = left_keys, []
    else:
        hidden_left, hidden_right = [], right_keys

    shown_left = [name for name in left.columns if name not in hidden_left]
    new_right = _suffixed(left, right, suffix, hidden_right, hidden_left)
    hidden_names = fresh_names("r", len(hidden_right), left.columns + right.columns)
    new_right.update(zip(hidden_right, hidden_names, strict=True))
    moved_left = dict(
        zip(
            hidden_left,
            fresh_names("l", len(hidden_left), left.columns + right.columns),
            strict=True,
        )
    )
    new_left = {name: moved_left.get(name, name) for name in left.columns}

    condition = conjunction(
        equality(_under(key.left, new_left), _under(key.right, new_right)) for key in keys
    )
    joined = Join(_renamed(left, new_left), _renamed(right, new_right), kind, condition)
    if not kind.keeps_right_columns:
        return joined
    shown = shown_left + [new for old, new in new_right.items() if old not in hidden_right]
    unique_names(shown, f"the join with suffix {suffix!r}")
    if kind is not JoinKind.FULL or not right_keys:
        return only(joined, shown)
    either = {
        a: exp.Coalesce(this=column(a), expressions=[column(new_right[b])])
        for a, b in zip(left_keys, right_keys, strict=True)
    }
    return Project(joined, tuple(Named(name, either.get(name, column(name))) for name in shown))


def _key_columns(keys: Sequence[Expr]) -> list[str]:
    return [key.name for key in keys if isinstance(key, exp.Column)]


def _suffixed(
    left: Node, right: Node, suffix: str, hidden: Collection[str] = (), gone: Collection[str] = ()
) -> dict[str, str]:
    """The right side's columns under the names the result has for them."""
    taken = [name for name in left.columns if name not in gone]
    return {
        name: name + suffix if name not in hidden and find_name(name, taken) else name
        for name in right.columns
    }


def _under(expression: Expr, names: dict[str, str]) -> Expr:
    return replace_columns(expression, {old.casefold(): column(new) for old, new in names.items()})


def _renamed(node: Node, names: dict[str, str]) -> Node:
    if all(old == new for old, new in names.items()):
        return node
    return Project(node, tuple(Named(names[old], column(old)) for old in node.columns))
