"""PIVOT as an aggregate with a FILTER for each value, UNPIVOT as a list that is unnested.

Both ways to write them, as a statement and after a table of FROM, become the same `Pivoting` and then
an ordinary SELECT, which is bound like any other.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from sqlglot import exp

from flowgrid.errors import PlanError
from flowgrid.expr.aggregates import is_aggregate
from flowgrid.expr.tree import Expr, cast, to_sql
from flowgrid.logical.dependent import CannotPartition

_PAIR = "#pair"

_WRAPPERS = (exp.WithinGroup, exp.IgnoreNulls, exp.RespectNulls)


@dataclass(frozen=True)
class Pivoting:
    """PIVOT or UNPIVOT of `source`; `whole` is what the user wrote, from which names come."""

    source: Expr
    whole: Expr
    on: tuple[Expr, ...]
    using: tuple[Expr, ...]
    group: tuple[Expr, ...] | None
    unpivot: bool
    include_nulls: bool = False
    name: str = "name"
    values: tuple[str, ...] = ("value",)


def statement(tree: exp.Pivot) -> Pivoting:
    """``PIVOT source ON … USING … GROUP BY …`` or ``UNPIVOT source ON … INTO …``."""
    group, into = tree.args.get("group"), tree.args.get("into")
    name, values = "name", ("value",)
    if into is not None:
        name, values = into.this.name, tuple(one.name for one in into.expressions)
    return Pivoting(
        source=tree.this,
        whole=tree,
        on=tuple(tree.expressions),
        using=tuple(tree.args.get("using") or ()),
        group=tuple(group.expressions) if group is not None else None,
        unpivot=bool(tree.args.get("unpivot")),
        include_nulls=bool(tree.args.get("include_nulls")),
        name=name,
        values=values,
    )


def clause(table: Expr) -> Pivoting:
    """``source PIVOT (… FOR … IN …)`` or ``source UNPIVOT (… FOR … IN …)`` in FROM."""
    pivots = table.args["pivots"]
    source = table.copy()
    source.set("pivots", None)
    source.set("joins", None)
    if len(pivots) != 1:
        raise CannotPartition("several PIVOT of one table")
    (pivot,) = pivots
    alone = table.copy()
    alone.set("joins", None)
    whole, group = exp.select("*").from_(alone), pivot.args.get("group")
    if not pivot.args.get("unpivot"):
        groups = tuple(group.expressions) if group is not None else None
        return Pivoting(
            source, whole, tuple(pivot.args["fields"]), tuple(pivot.expressions), groups, False
        )
    (field,) = pivot.args["fields"]
    (value,) = pivot.expressions
    values = value.expressions if isinstance(value, exp.Tuple) else [value]
    return Pivoting(
        source=source,
        whole=whole,
        on=tuple(field.expressions),
        using=(),
        group=None,
        unpivot=True,
        include_nulls=bool(pivot.args.get("include_nulls")),
        name=field.this.name,
        values=tuple(one.name for one in values),
    )


def with_values(tree: Expr, texts_of: Callable[[Expr], Sequence[str]]) -> Expr:
    """The query with the values of every ``PIVOT … ON column`` written out, in their order as texts.

    `texts_of` answers a query with one column. Raises `PlanError` for a column without values.
    """
    tree = tree.copy()
    for pivot in list(tree.find_all(exp.Pivot)):
        for on in list(pivot.expressions) if not pivot.args.get("unpivot") else ():
            if isinstance(on, exp.In | exp.PivotAny) or pivot.args.get("fields"):
                continue
            value = cast(on.copy(), "VARCHAR")
            query = exp.select(value).distinct().from_(pivot.this.copy()).order_by("1")
            query = query.where(exp.Not(this=exp.Is(this=on.copy(), expression=exp.null())))
            for with_ in _around(pivot):
                query.set("with_", with_.copy())
            literals = [exp.Literal.string(text) for text in texts_of(query)]
            if not literals:
                raise PlanError(f"PIVOT ON {to_sql(on)}: there is no value to make a column of")
            on.replace(exp.In(this=on.copy(), expressions=literals))
    return tree


def _around(pivot: Expr) -> Iterator[Expr]:
    """The WITH of the query that it is in, if there is one."""
    node: Expr | None = pivot
    while node is not None:
        if node.args.get("with_"):
            yield node.args["with_"]
            return
        node = node.parent


def refuse_open_pivots(tree: Expr) -> None:
    """Raises `PlanError` for a PIVOT whose columns depend on the data."""
    for pivot in tree.find_all(exp.Pivot):
        if not pivot.args.get("unpivot") and not pivot.find(exp.In, exp.PivotAny):
            raise PlanError(
                "the columns of this PIVOT depend on the data; list its values: ON column IN (…)"
            )


def as_select(pivoting: Pivoting, columns: Sequence[str]) -> exp.Select:
    """The SELECT that it means; `columns` are those of the source. Raises `CannotPartition`."""
    return _unpivoted(pivoting, columns) if pivoting.unpivot else _pivoted(pivoting, columns)


def _pivoted(pivoting: Pivoting, columns: Sequence[str]) -> exp.Select:
    using = pivoting.using or (exp.Count(this=exp.Star()),)
    choices = [_conditions(one) for one in pivoting.on]
    keys = list(pivoting.group or ())
    if pivoting.group is None:
        keys = _others(columns, [*pivoting.on, *using])
    values = [
        _filtered(one.unalias(), exp.and_(*chosen))
        for chosen in itertools.product(*choices)
        for one in using
    ]
    items = [*keys, *values]
    named = [exp.alias_(one.copy(), f"#{index}", quoted=True) for index, one in enumerate(items)]
    select = exp.select(*named).from_(pivoting.source.copy())
    if keys:
        positions: list[Expr] = [exp.Literal.number(index + 1) for index in range(len(keys))]
        select.set("group", exp.Group(expressions=positions))
    return select


def _conditions(on: Expr) -> list[Expr]:
    """For each value of ``c IN (…)`` the test for it; the kernel compares them as texts."""
    if not isinstance(on, exp.In) or on.args.get("query") is not None or not on.expressions:
        raise CannotPartition("PIVOT ON something else than a list of values")
    tests: list[Expr] = []
    for value in on.expressions:
        inner = value.this if isinstance(value, exp.PivotAlias) else value
        if isinstance(inner, exp.Tuple) or isinstance(on.this, exp.Tuple):
            raise CannotPartition("PIVOT ON rows")
        sides = (cast(one.copy(), "VARCHAR") for one in (on.this, inner))
        left, right = sides
        tests.append(exp.NullSafeEQ(this=left, expression=right))
    return tests


def _filtered(value: Expr, condition: Expr) -> Expr:
    """The expression with every aggregate over the rows for which the condition is true."""
    if value.find(exp.Filter, exp.Window) is not None:
        raise CannotPartition("PIVOT USING an aggregate with FILTER or OVER")

    return _with_filters(value.copy(), condition)


def _with_filters(node: Expr, condition: Expr) -> Expr:
    inner = node
    while isinstance(inner, _WRAPPERS):
        inner = inner.this
    if is_aggregate(inner):
        return exp.Filter(this=node.copy(), expression=exp.Where(this=condition.copy()))
    for child in list(node.iter_expressions()):
        changed = _with_filters(child, condition)
        if changed is not child:
            child.replace(changed)
    return node


def _unpivoted(pivoting: Pivoting, columns: Sequence[str]) -> exp.Select:
    rows: list[Expr] = []
    for one in pivoting.on:
        inner = one.this if isinstance(one, exp.PivotAlias | exp.Alias) else one
        parts = inner.expressions if isinstance(inner, exp.Tuple) else [inner]
        plain = all(isinstance(part, exp.Column | exp.Identifier) for part in parts)
        if not (plain or one is not inner) or len(parts) != len(pivoting.values):
            raise CannotPartition("UNPIVOT of something else than columns")
        name = one.alias if one is not inner else "_".join(part.name for part in parts)
        fields: list[tuple[str, Expr]] = [("#name", exp.Literal.string(name))]
        fields += [(f"#value{index}", _value(part)) for index, part in enumerate(parts)]
        rows.append(_struct(fields))
    keys = _others(columns, pivoting.on)
    unnest = exp.Explode(this=exp.Array(expressions=rows))
    pairs = exp.select(*keys, exp.alias_(unnest, _PAIR, quoted=True)).from_(pivoting.source.copy())
    alias = exp.TableAlias(this=exp.to_identifier("#unpivot", quoted=True))
    values = [_field(f"#value{index}") for index in range(len(pivoting.values))]
    named = zip((pivoting.name, *pivoting.values), (_field("#name"), *values), strict=True)
    items = [exp.alias_(value, name, quoted=True) for name, value in named]
    select = exp.select(*(key.copy() for key in keys), *items)
    select = select.from_(exp.Subquery(this=pairs, alias=alias))
    if not pivoting.include_nulls:
        known = (exp.Not(this=exp.Is(this=one.copy(), expression=exp.null())) for one in values)
        select = select.where(*known)
    return select


def _others(columns: Sequence[str], expressions: Sequence[Expr]) -> list[Expr]:
    """The columns that none of the expressions reads."""
    read = {
        found.name.casefold()
        for one in expressions
        for found in one.find_all(exp.Column, exp.Identifier)
    }
    return [exp.column(name, quoted=True) for name in columns if name.casefold() not in read]


def _value(part: Expr) -> Expr:
    return exp.Column(this=part.copy()) if isinstance(part, exp.Identifier) else part.copy()


def _struct(fields: Sequence[tuple[str, Expr]]) -> exp.Struct:
    return exp.Struct(
        expressions=[
            exp.PropertyEQ(this=exp.to_identifier(name, quoted=True), expression=value)
            for name, value in fields
        ]
    )


def _field(name: str) -> Expr:
    pair = exp.Paren(this=exp.column(_PAIR, quoted=True))
    return exp.Dot(this=pair, expression=exp.to_identifier(name, quoted=True))
