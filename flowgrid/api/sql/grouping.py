"""GROUP BY and aggregates: one `Aggregate`, and expressions over its columns."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from sqlglot import exp

from flowgrid.api.sql.expressions import Block
from flowgrid.api.sql.subqueries import answered
from flowgrid.expr.aggregates import is_aggregate
from flowgrid.expr.tree import Expr, column, columns_of
from flowgrid.logical.dependent import CannotPartition
from flowgrid.logical.nodes import Aggregate, Named

KeySet: TypeAlias = tuple[int, ...]

_WRAPPERS = (exp.Filter, exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls)


@dataclass
class Keys:
    """The expressions to group by, each once, and the grouping sets over them if there are any."""

    expressions: list[Expr] = field(default_factory=list)
    sets: tuple[KeySet, ...] | None = None

    def index(self, key: Expr) -> int:
        key = key.unnest()
        if key not in self.expressions:
            self.expressions.append(key)
        return self.expressions.index(key)


def group_keys(
    group: exp.Group | None, key: Callable[[Expr], Expr], all_keys: Sequence[Expr]
) -> Keys:
    """The keys of GROUP BY; `key` resolves one, `all_keys` is what GROUP BY ALL means."""
    keys = Keys()
    if group is None:
        return keys
    if group.args.get("all"):
        for expression in all_keys:
            keys.index(expression)
        return keys
    elements = [*group.expressions]
    for kind in ("grouping_sets", "rollup", "cube"):
        elements += group.args.get(kind) or []
    if any(
        isinstance(found, exp.Rollup | exp.Cube) and not found.expressions for found in elements
    ):
        raise CannotPartition("WITH ROLLUP")
    choices = [_sets(element, keys, key) for element in elements]
    if any(isinstance(found, exp.Rollup | exp.Cube | exp.GroupingSets) for found in elements):
        keys.sets = tuple(
            tuple(dict.fromkeys(itertools.chain(*chosen))) for chosen in itertools.product(*choices)
        )
    return keys


def _sets(element: Expr, keys: Keys, key: Callable[[Expr], Expr]) -> list[KeySet]:
    if isinstance(element, exp.GroupingSets):
        return [found for inner in element.expressions for found in _sets(inner, keys, key)]
    if isinstance(element, exp.Rollup | exp.Cube):
        parts = [_sets(inner, keys, key)[0] for inner in element.expressions]
        if isinstance(element, exp.Rollup):
            chosen: Iterator[Sequence[KeySet]] = (parts[:n] for n in range(len(parts), -1, -1))
        else:
            counts = range(len(parts), -1, -1)
            chosen = (some for n in counts for some in itertools.combinations(parts, n))
        return [tuple(itertools.chain(*some)) for some in chosen]
    inner = element.unnest()
    items = inner.expressions if isinstance(inner, exp.Tuple) else [inner]
    return [tuple(keys.index(key(item)) for item in items)]


def needs_group(expression: Expr) -> bool:
    return any(_is_group_value(node) for node in expression.walk())


def aggregate(block: Block, keys: Keys, expressions: Sequence[Expr]) -> list[Expr]:
    """Groups the block's relation; returns the expressions over the columns of the aggregate."""
    own = block.scope.own_columns()
    named_keys: dict[Expr, Named] = {}
    for key in keys.expressions:
        name = key.name if isinstance(key, exp.Column) else block.context.names.computed()
        named_keys[key] = Named(name, answered(key, block))
    values: dict[Expr, Named] = {}

    def replace(node: Expr) -> Expr:
        known = named_keys.get(node) if not isinstance(node, exp.Column | exp.Literal) else None
        if known is None and _is_group_value(node):
            known = values.get(node)
            if known is None:
                known = Named(block.context.names.computed(), _group_value(node, block, own))
                values[node.copy()] = known
        return column(known.name) if known is not None else node

    found = [expression.copy().transform(replace, copy=False) for expression in expressions]
    block.relation = Aggregate(
        block.relation, tuple(named_keys.values()), tuple(values.values()), keys.sets
    )
    block.answers.clear()
    available = set(block.relation.columns)
    for expression in found:
        for name in columns_of(expression):
            if name in own and name not in available:
                raise CannotPartition(f"{name!r} is neither grouped by nor aggregated")
    return found


def _group_value(node: Expr, block: Block, own: set[str]) -> Expr:
    read = columns_of(node)
    if read and own.isdisjoint(read):
        raise CannotPartition("an aggregate over columns of the query around")
    return answered(node.copy(), block)


def _is_group_value(node: Expr) -> bool:
    """An aggregate with its FILTER and such, or GROUPING; not the function of a window."""
    inner = node
    while isinstance(inner, _WRAPPERS):
        inner = inner.this
    if not (is_aggregate(inner) or isinstance(inner, exp.Grouping | exp.GroupingId)):
        return False
    outer = node
    while isinstance(outer.parent, _WRAPPERS) and outer.parent.this is outer:
        outer = outer.parent
    return not (isinstance(outer.parent, exp.Window) and outer.parent.this is outer)
