"""`DataFrame.join_asof`: each row with the nearest earlier (or later) one of the other frame."""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from flowgrid.errors import PlanError
from flowgrid.expr.names import column_named, find_name, fresh_names
from flowgrid.expr.tree import column, conjunction, equality
from flowgrid.logical.nodes import AsofJoin, Named, Node, Project

_NEAR: dict[tuple[str, bool], type[exp.Binary]] = {
    ("backward", True): exp.GTE,
    ("backward", False): exp.GT,
    ("forward", True): exp.LTE,
    ("forward", False): exp.LT,
}

Names = str | Sequence[str] | None


def join_asof(
    left: Node,
    right: Node,
    on: tuple[str | None, str | None, str | None],
    by: tuple[Names, Names, Names],
    strategy: str,
    suffix: str,
    allow_exact_matches: bool,
    coalesce: bool,
) -> Node:
    """`on` and `by` are what both sides call it, or else what the left and the right one do."""
    compare = _NEAR.get((strategy, allow_exact_matches))
    if compare is None:
        raise PlanError(f"strategy={strategy!r} is neither backward nor forward")
    (left_on,), (right_on,) = _sides(left, right, on, "on")
    left_by, right_by = _sides(left, right, by, "by")
    hidden = {*right_by, *((right_on,) if coalesce else ())}
    secret = iter(fresh_names("r", len(hidden), left.columns + right.columns))
    new: dict[str, str] = {}
    for name in right.columns:
        shown = name + suffix if find_name(name, left.columns) else name
        new[name] = next(secret) if name in hidden else shown
    renamed = Project(right, tuple(Named(new[name], column(name)) for name in right.columns))
    pairs = zip(left_by, right_by, strict=True)
    tests = [equality(column(ours), column(new[theirs])) for ours, theirs in pairs]
    tests.append(compare(this=column(left_on), expression=column(new[right_on])))
    condition = conjunction(tests)
    assert condition is not None
    joined = AsofJoin(left, renamed, condition, keeps_left=True)
    shown_columns = [*left.columns, *(new[name] for name in right.columns if name not in hidden)]
    return Project(joined, tuple(Named(name, column(name)) for name in shown_columns))


def _sides(
    left: Node, right: Node, given: tuple[Names, Names, Names], what: str
) -> tuple[list[str], list[str]]:
    both, ours, theirs = (_listed(one) for one in given)
    if both is not None:
        ours = theirs = both
    if ours is None or theirs is None or len(ours) != len(theirs):
        if what == "by" and ours is None and theirs is None:
            return [], []
        names = ("left_on", "right_on") if what == "on" else ("by_left", "by_right")
        raise PlanError(f"join_asof needs {what}=, or as many {names[0]}= as {names[1]}=")
    if what == "on" and len(ours) != 1:
        raise PlanError("join_asof looks for the nearest value of one column: on= is one name")
    where = f"join_asof {what}"
    return (
        [column_named(name, left.columns, where) for name in ours],
        [column_named(name, right.columns, where) for name in theirs],
    )


def _listed(names: Names) -> list[str] | None:
    if names is None:
        return None
    return [names] if isinstance(names, str) else list(names)
