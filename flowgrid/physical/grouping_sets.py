"""GROUPING SETS, ROLLUP and CUBE: rows are folded once, by all keys; every set is made of the folds."""

from __future__ import annotations

import dataclasses

from sqlglot import exp

from flowgrid.expr.tree import Expr, cast, column, literal, to_sql
from flowgrid.logical.fields import fields_of
from flowgrid.logical.nodes import Aggregate, Named, Node, Project, Union
from flowgrid.physical.aggregation import Fold, PartialAggregate, fold


def without_sets(node: Aggregate) -> Node:
    """The aggregate as a union of one per set; over folds by all keys, if all calls can be folded."""
    assert node.sets is not None
    aggregates = node.aggregates + (() if all(node.sets) else (_ROW_COUNT,))
    finest = fold(dataclasses.replace(node, aggregates=aggregates, sets=None))
    types = {field.name: field.type for field in fields_of(node)}
    parts: list[Node] = []
    for chosen in node.sets:
        part = _of_set(node, chosen)
        whole: Node = part if finest is None else _rolled_up(finest, part, chosen)
        items = tuple(
            Named(name, column(name) if name in part.columns else cast(literal(None), types[name]))
            for name in node.columns
        )
        parts.append(Project(whole, items))
    return parts[0] if len(parts) == 1 else Union(tuple(parts))


def _of_set(node: Aggregate, chosen: tuple[int, ...]) -> Aggregate:
    """The aggregate by the keys of one set; `grouping()` is a constant."""
    keys = tuple(node.keys[index] for index in chosen)
    aggregates = tuple(
        Named(named.name, _grouping_folded(named.expression, node, chosen))
        for named in node.aggregates
    )
    return Aggregate(node.input, keys, aggregates + ((_ROW_COUNT,) if not keys else ()))


def _rolled_up(finest: Fold, part: Aggregate, chosen: tuple[int, ...]) -> Node:
    """One set's aggregate out of folds by the keys of all sets, folded once more where they are."""
    there = finest.keys
    keys = tuple(Named(there[new], column(there[old])) for new, old in enumerate(chosen))
    states = tuple((name, _without_end(sql)) for name, sql in finest.calls)
    coarser = PartialAggregate(finest.partial, keys, states)
    return dataclasses.replace(finest, aggregate=part, partial=coarser).finish(coarser)


def _without_end(sql: str) -> str:
    """How folds become one fold: by what ends them all, without the end."""
    is_state = sql.startswith(_FINALIZE)
    return sql.removeprefix(_FINALIZE).removesuffix(")") if is_state else sql


_FINALIZE = "finalize("

_ROW_COUNT = Named("#rows", exp.Count(this=exp.Star()))
"""What makes a relation without keys one row, also where nothing else is counted."""


def _grouping_folded(expression: Expr, node: Aggregate, chosen: tuple[int, ...]) -> Expr:
    """The expression with every `grouping(a, b)` as the number it is for this set."""
    grouped = {to_sql(node.keys[index].expression.unnest()) for index in chosen}

    def replace(tree: Expr) -> Expr:
        name = tree.name if isinstance(tree, exp.Anonymous) else tree.key
        if name.casefold() not in ("grouping", "grouping_id"):
            return tree
        bits = ["0" if to_sql(key.unnest()) in grouped else "1" for key in tree.iter_expressions()]
        return cast(literal(int("".join(bits) or "0", 2)), "BIGINT")

    return expression.copy().transform(replace, copy=False)
