"""Verbs that choose and compute columns and rows of one relation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlglot import exp

from flowgrid.api.column import Column, IntoColumn, IntoType, flatten, into_column, into_order
from flowgrid.api.udf import with_udf_columns
from flowgrid.errors import PlanError
from flowgrid.expr.aggregates import columns_outside_aggregates, has_aggregate
from flowgrid.expr.names import column_named, fresh_names, resolve
from flowgrid.expr.tree import Expr, column, conjunction, has_window, to_sql
from flowgrid.logical.nodes import (
    Aggregate,
    Distinct,
    Filter,
    Named,
    Node,
    Project,
    Sort,
    SortKey,
    Window,
)

Selected = IntoColumn | Sequence[IntoColumn]


def select(node: Node, values: Iterable[Selected], named: Mapping[str, IntoColumn]) -> Node:
    """These columns; without GROUP BY they are all aggregates or none is."""
    wanted = named_expressions(node, values, named, "select")
    if not any(has_aggregate(one.expression) for one in wanted):
        return _project(node, wanted)
    return aggregate(node, (), wanted)


def with_columns(node: Node, values: Iterable[Selected], named: Mapping[str, IntoColumn]) -> Node:
    """All columns, with those of the same names replaced and the others added behind."""
    added = named_expressions(node, values, named, "with_columns")
    for one in added:
        if has_aggregate(one.expression):
            raise PlanError(
                f"{to_sql(one.expression)} in with_columns is an aggregate: write .over(…) for its "
                "value beside every row, or use group_by(…).agg(…)"
            )
    by_name = {one.name.casefold(): one for one in added}
    kept = [
        Named(name, by_name.pop(name.casefold()).expression)
        if name.casefold() in by_name
        else Named(name, column(name))
        for name in node.columns
    ]
    return _project(node, [*kept, *by_name.values()])


def keep(node: Node, predicates: Iterable[Selected]) -> Node:
    """The rows for which all predicates are true."""
    found = [one.expression for one in named_expressions(node, predicates, {}, "filter")]
    for predicate in found:
        if has_aggregate(predicate):
            raise PlanError(
                f"{to_sql(predicate)} in filter is an aggregate: "
                "filter after group_by(…).agg(…), or write .over(…)"
            )
    computed, found = with_computed_columns(node, found)
    joined = conjunction(found)
    return node if joined is None else only(Filter(computed, joined), node.columns)


def sort(
    node: Node,
    by: Iterable[Selected],
    descending: bool | Sequence[bool],
    nulls_last: bool | Sequence[bool],
) -> Node:
    """The rows in the order of the keys."""
    keys = [into_order(key, node.columns).expression for key in flatten(by)]
    if not keys:
        raise PlanError("sort needs at least one key")
    falling = _one_per_key(descending, len(keys), "descending")
    last = _one_per_key(nulls_last, len(keys), "nulls_last")
    wanted = [
        key
        if isinstance(key, exp.Ordered)
        else exp.Ordered(this=key, desc=down, nulls_first=not end)
        for key, down, end in zip(keys, falling, last, strict=True)
    ]
    resolved = [resolve(key.this, node.columns, "sort") for key in wanted]
    computed, resolved = with_computed_columns(node, resolved)
    sort_keys = tuple(
        SortKey(expression, bool(key.args.get("desc")), bool(key.args.get("nulls_first")))
        for expression, key in zip(resolved, wanted, strict=True)
    )
    return only(Sort(computed, sort_keys), node.columns)


def _one_per_key(given: bool | Sequence[bool], count: int, what: str) -> Sequence[bool]:
    values = [given] * count if isinstance(given, bool) else given
    if len(values) != count:
        raise PlanError(f"{what} has {len(values)} values for {count} sort keys")
    return values


def aggregate(
    node: Node,
    keys: Sequence[Named],
    wanted: Sequence[Named],
    sets: tuple[tuple[int, ...], ...] | None = None,
) -> Node:
    """One row per distinct keys with these aggregates; every other column must be a key.

    `sets` are choices of the keys, by index; there is a row per distinct keys of each choice.
    """
    key_texts = frozenset(to_sql(key.expression) for key in keys)
    for one in wanted:
        if has_window(one.expression):
            raise PlanError(
                f"{to_sql(one.expression)} is a window over an aggregation: "
                "aggregate first, then add it with with_columns(…)"
            )
        for name in columns_outside_aggregates(one.expression, key_texts):
            raise PlanError(
                f"column {name!r} in {to_sql(one.expression)} is neither aggregated nor a key "
                f"of the group: use fg.first({name!r}), fg.list({name!r}) or another aggregate"
            )
    expressions = [one.expression for one in (*keys, *wanted)]
    computed, expressions = with_udf_columns(node, expressions)
    named = [Named(o.name, e) for o, e in zip((*keys, *wanted), expressions, strict=True)]
    return Aggregate(computed, tuple(named[: len(keys)]), tuple(named[len(keys) :]), sets)


def drop(node: Node, names: Iterable[str | Sequence[str]]) -> Node:
    gone = {column_named(name, node.columns, "drop") for name in _names(names)}
    return only(node, [name for name in node.columns if name not in gone])


def rename(node: Node, mapping: Mapping[str, str]) -> Node:
    new = {column_named(old, node.columns, "rename"): name for old, name in mapping.items()}
    return Project(node, tuple(Named(new.get(old, old), column(old)) for old in node.columns))


def cast(node: Node, types: Mapping[str, IntoType] | IntoType, strict: bool) -> Node:
    """All columns, those in `types` (or every one) as another type."""
    if not isinstance(types, Mapping):
        types = dict.fromkeys(node.columns, types)
    changed = [
        Column(column(column_named(name, node.columns, "cast")), name).cast(type_, strict=strict)
        for name, type_ in types.items()
    ]
    return with_columns(node, changed, {})


def unique(node: Node, subset: str | Sequence[str] | None) -> Node:
    if subset is None:
        return Distinct(node)
    return Distinct(node, tuple(column_named(n, node.columns, "unique") for n in _names([subset])))


def only(node: Node, names: Sequence[str]) -> Node:
    """The relation with these columns in this order; itself when it has no others."""
    if tuple(names) == node.columns:
        return node
    return Project(node, tuple(Named(name, column(name)) for name in names))


def _names(names: Iterable[str | Sequence[str]]) -> list[str]:
    return [name for given in names for name in ([given] if isinstance(given, str) else given)]


# -- from what users write to named expressions ----------------------------------------------------


def named_expressions(
    node: Node, values: Iterable[Selected], named: Mapping[str, IntoColumn], where: str
) -> list[Named]:
    """Resolved expressions under their names; ``*`` becomes every column."""
    columns = [into_column(value, node.columns) for value in flatten(values)]
    columns += [into_column(value, node.columns).alias(name) for name, value in named.items()]
    return [one for given in columns for one in _named(node, given, where)]


def _named(node: Node, given: Column, where: str) -> list[Named]:
    if isinstance(given.expression, exp.Star):
        return _all_columns(node, given.expression)
    if isinstance(given.expression, exp.Ordered):
        raise PlanError(f"{given.name!r} in {where} is a sort key: asc() and desc() belong in sort")
    resolved = resolve(given.expression, node.columns, where)
    if isinstance(given.expression, exp.Column) and given.expression.name == given.name:
        return [Named(resolved.name, resolved)]
    return [Named(given.name, resolved)]


def _all_columns(node: Node, star: exp.Star) -> list[Named]:
    left_out = {
        column_named(one.name, node.columns, "EXCLUDE") for one in star.args.get("except_") or ()
    }
    if star.args.get("replace") or star.args.get("rename"):
        raise PlanError("* REPLACE and * RENAME: use with_columns(…) and rename(…)")
    return [Named(name, column(name)) for name in node.columns if name not in left_out]


def with_computed_columns(node: Node, expressions: Sequence[Expr]) -> tuple[Node, list[Expr]]:
    """Window and user functions moved into nodes below; the expressions that read their columns."""
    node, expressions = with_udf_columns(node, expressions)
    windows: list[Expr] = [
        found
        for expression in expressions
        for found in expression.walk(prune=lambda inner: isinstance(inner, exp.Window))
        if isinstance(found, exp.Window)
    ]
    if not windows:
        return node, list(expressions)
    names = iter(fresh_names("w", len(windows), node.columns))
    computed: list[Named] = []

    def replace(found: Expr) -> Expr:
        if not isinstance(found, exp.Window):
            return found
        computed.append(Named(next(names), found))
        return column(computed[-1].name)

    rewritten = [expression.copy().transform(replace, copy=False) for expression in expressions]
    return Window(node, tuple(computed)), rewritten


def _project(node: Node, wanted: Sequence[Named]) -> Node:
    computed, expressions = with_computed_columns(node, [one.expression for one in wanted])
    return Project(
        computed,
        tuple(Named(o.name, e) for o, e in zip(wanted, expressions, strict=True)),
    )
