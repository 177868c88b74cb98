"""Partial aggregation: what each task can fold before rows travel, and how the rest is folded after.

Sums, counts and extremes of parts are combined by themselves. Other aggregates travel as the kernel's
own exported state. An aggregate over DISTINCT values has no state that can be combined (the kernel
exports a bare count), so its rows travel, each value once per task.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

from sqlglot import exp

from flowgrid.expr.tree import Expr, cast, column, quote, to_sql
from flowgrid.logical.fields import fields_of, types_of
from flowgrid.logical.nodes import Aggregate, Distinct, Join, JoinKind, Named, Node, Project
from flowgrid.logical.schema import aggregate_functions
from flowgrid.protocol.fragment import Field

_COMBINED_BY = {
    "sum": "sum", "count": "sum", "count_star": "sum", "count_if": "sum", "min": "min", "max": "max",
    "bool_and": "bool_and", "bool_or": "bool_or",
    "bit_and": "bit_and", "bit_or": "bit_or", "bit_xor": "bit_xor",
}  # fmt: skip
"""Aggregates whose parts are folded by an ordinary aggregate, exactly."""

_DOUBLES = (
    "stddev", "stddev_pop", "stddev_samp", "variance", "var_pop", "var_samp", "sem", "skewness",
    "kurtosis", "corr", "covar_pop", "covar_samp", "regr_slope", "regr_intercept", "regr_r2",
    "product",
)  # fmt: skip
"""Aggregates with a state whose arguments the kernel first makes DOUBLE."""

_AS_THEY_ARE = ("avg", "arg_min", "arg_max", "approx_count_distinct", "any_value", "first")
"""Aggregates with a state of their arguments' own types."""

_NUMBERS = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DECIMAL\(.*\)|DOUBLE|FLOAT")


@dataclass(frozen=True)
class _Call:
    """One aggregate call of the query: its function's name, arguments, and FILTER condition."""

    tree: Expr
    name: str
    arguments: tuple[Expr, ...]
    plain: bool
    """No DISTINCT, no ORDER BY, no WITHIN GROUP: rows may be folded in any order, in any parts."""


@dataclass(frozen=True, eq=False)
class PartialAggregate(Node):
    """The fold of one task's rows: keys as they are, aggregates as values or states."""

    input: Node
    keys: tuple[Named, ...]
    states: tuple[tuple[str, str], ...]

    @property
    def grouped_by(self) -> tuple[Named, ...]:
        return self.keys

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(key.name for key in self.keys) + tuple(name for name, _ in self.states)

    def query(self, names: Sequence[str]) -> str:
        parts = [key.sql() for key in self.keys]
        parts += [f"{sql} AS {quote(name)}" for name, sql in self.states]
        group = ", ".join(str(position + 1) for position in range(len(self.keys)))
        return f"SELECT {', '.join(parts)} FROM {names[0]}" + (
            f" GROUP BY {group}" if group else ""
        )

    def describe(self) -> str:
        keys = ", ".join(key.shown() for key in self.keys)
        return f"PartialAggregate {', '.join(sql for _, sql in self.states)}" + (
            f" by {keys}" if keys else ""
        )


@dataclass(frozen=True, eq=False)
class FinalAggregate(Node):
    """The fold of partial folds; `values` are SQL over the partial's columns."""

    input: Node
    keys: tuple[str, ...]
    values: tuple[tuple[str, str], ...]

    @property
    def grouped_by(self) -> tuple[Named, ...]:
        return tuple(Named(key, column(key)) for key in self.keys)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return self.keys + tuple(name for name, _ in self.values)

    def query(self, names: Sequence[str]) -> str:
        parts = [quote(key) for key in self.keys]
        parts += [f"{sql} AS {quote(name)}" for name, sql in self.values]
        group = ", ".join(str(position + 1) for position in range(len(self.keys)))
        return f"SELECT {', '.join(parts)} FROM {names[0]}" + (
            f" GROUP BY {group}" if group else ""
        )

    def describe(self) -> str:
        keys = f" by {', '.join(self.keys)}" if self.keys else ""
        return "FinalAggregate " + ", ".join(f"{sql} AS {name}" for name, sql in self.values) + keys


@dataclass(frozen=True)
class Fold:
    """An aggregate in two halves: `partial` runs before the exchange, `finish` after it."""

    aggregate: Aggregate
    partial: PartialAggregate
    calls: tuple[tuple[str, str], ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns of `partial` by which the rows must meet."""
        return tuple(key.name for key in self.partial.keys)

    def finish(self, source: Node) -> Node:
        """The aggregate's own rows, from partial rows in `source`."""
        final = FinalAggregate(source, self.keys, self.calls)
        wanted: list[Named] = [
            Named(key.name, column(_key(index))) for index, key in enumerate(self.aggregate.keys)
        ]
        tokens = _Tokens(self.aggregate)
        for named in self.aggregate.aggregates:
            wanted.append(Named(named.name, tokens.over_folded(named.expression)))
        return Project(final, tuple(wanted))


def _key(index: int) -> str:
    return f"#k{index}"


class _Tokens:
    """The distinct aggregate calls of a node, each with the column that will carry it."""

    def __init__(self, aggregate: Aggregate) -> None:
        self._aggregate = aggregate
        self.calls: dict[str, _Call] = {}
        for named in aggregate.aggregates:
            for call in calls_of(named.expression):
                self.calls.setdefault(to_sql(call.tree), call)
        self.names = [f"#a{index}" for index in range(len(self.calls))]
        self._by_sql = dict(zip(self.calls, self.names, strict=True))
        self._keys = {to_sql(key.expression): _key(i) for i, key in enumerate(aggregate.keys)}

    def over_folded(self, expression: Expr) -> Expr:
        """The expression with its aggregate calls, and the keys it repeats, read from columns."""

        def replace(node: Expr) -> Expr:
            text = to_sql(node)
            if text in self._by_sql:
                return column(self._by_sql[text])
            if text in self._keys:
                return column(self._keys[text])
            return node

        return expression.copy().transform(replace, copy=False)


def calls_of(expression: Expr) -> Iterator[_Call]:
    """The outermost aggregate calls in an expression, with FILTER and WITHIN GROUP around them."""
    stack = [expression]
    while stack:
        node = stack.pop()
        call = _as_call(node)
        if call is not None:
            yield call
        else:
            stack.extend(reversed([child for child in node.iter_expressions()]))


def _as_call(node: Expr) -> _Call | None:
    inner, plain = node, True
    while isinstance(inner, exp.Filter | exp.WithinGroup | exp.IgnoreNulls | exp.RespectNulls):
        plain = plain and isinstance(inner, exp.Filter)
        inner = inner.this
    if not isinstance(inner, exp.Func) or isinstance(inner, exp.Connector):
        return None
    parsed = _kernel_call(inner)
    if parsed is None:
        return None
    name, arguments = parsed
    plain = plain and not any(isinstance(a, exp.Distinct | exp.Order) for a in arguments)
    return _Call(node, name, arguments, plain)


def _kernel_call(function: Expr) -> tuple[str, tuple[Expr, ...]] | None:
    """Name and arguments as the kernel will see them: sqlglot's own names differ for some."""
    text = to_sql(function)
    name = text.split("(", 1)[0].strip().casefold()
    if name not in aggregate_functions():
        return None
    if isinstance(function, exp.Count) and isinstance(function.this, exp.Star | None):
        return "count_star", ()
    return name, tuple(function.iter_expressions())


def fold(aggregate: Aggregate) -> Fold | None:
    """The aggregate in two halves; None if one of its calls cannot be folded in parts."""
    tokens = _Tokens(aggregate)
    if aggregate.sets is not None or not all(call.plain for call in tokens.calls.values()):
        return None
    types = _argument_types(aggregate.input, list(tokens.calls.values()))
    states, values = [], []
    for name, call, have in zip(tokens.names, tokens.calls.values(), types, strict=True):
        halves = _halves(call, name, have)
        if halves is None:
            return None
        states.append((name, halves[0]))
        values.append((name, halves[1]))
    keys = tuple(Named(_key(i), key.expression) for i, key in enumerate(aggregate.keys))
    partial = PartialAggregate(aggregate.input, keys, tuple(states))
    return Fold(aggregate, partial, tuple(_typed(values, fields_of(partial))))


def _typed(values: Sequence[tuple[str, str]], fields: Sequence[Field]) -> Iterator[tuple[str, str]]:
    """Values in the types that the calls themselves have: a sum of counts is wider than a count."""
    types = {field.name: field.type for field in fields}
    for name, sql in values:
        state = types[name].startswith("AGGREGATE_STATE")
        yield name, sql if state else f"CAST({sql} AS {types[name]})"


def _halves(call: _Call, name: str, types: Sequence[str]) -> tuple[str, str] | None:
    """SQL of a call before and after the exchange, or None."""
    state, text = quote(name), to_sql(call.tree)
    if call.name in _COMBINED_BY and len(call.arguments) <= 1:
        combined = f"{_COMBINED_BY[call.name]}({state})"
        if call.name in ("count", "count_star"):  # count_if is a sum to the kernel
            combined = f"coalesce({combined}, 0)"
        return text, combined
    function = {"mean": "avg", "max_by": "arg_max", "min_by": "arg_min"}.get(call.name, call.name)
    if function in _DOUBLES:
        tree = call.tree.copy()
        _make_double(tree, call.arguments)
        text, types = to_sql(tree), ["DOUBLE"] * len(types)
    elif function not in _AS_THEY_ARE or len(call.arguments) != len(types):
        return None
    elif function == "avg" and not _NUMBERS.fullmatch(types[0]):
        return None  # the average of dates has a state of another type than its argument
    listed = ", ".join("'" + one.replace("'", "''") + "'" for one in types)
    final = f"finalize(combine_aggr(to_aggregate_state({state}, '{function}', [{listed}])))"
    return f"{text} EXPORT_STATE", final


def _make_double(tree: Expr, arguments: Sequence[Expr]) -> None:
    wanted = {to_sql(argument) for argument in arguments}
    for node in list(tree.walk()):
        if to_sql(node) in wanted and isinstance(node.parent, exp.Func):
            node.replace(cast(node.copy(), "DOUBLE"))
            wanted.discard(to_sql(node))


def _argument_types(source: Node, calls: Sequence[_Call]) -> list[list[str]]:
    """Kernel types of every call's arguments, asked all at once."""
    asked = [argument for call in calls for argument in call.arguments]
    if not asked:
        return [[] for _ in calls]
    types = iter(types_of(source, asked))
    return [[next(types) for _ in call.arguments] for call in calls]


def distinct_argument(aggregate: Aggregate) -> Node | None:
    """For aggregates that are all over DISTINCT values: the rows each task needs to send, each once.

    The result has the columns that keys and arguments read. None if some call is of another kind.
    """
    calls = _Tokens(aggregate).calls.values()
    if not calls or aggregate.sets is not None:
        return None
    for call in calls:
        if not any(isinstance(argument, exp.Distinct) for argument in call.arguments):
            return None
    return Distinct(read_columns(aggregate))


def read_columns(aggregate: Aggregate) -> Node:
    """The input without columns that neither keys nor arguments read, if they read any."""
    read = {
        found.name.casefold()
        for named in aggregate.keys + aggregate.aggregates
        for found in named.expression.find_all(exp.Column)
    }
    kept = [name for name in aggregate.input.columns if name.casefold() in read]
    if not kept or len(kept) == len(aggregate.input.columns):
        return aggregate.input
    return Project(aggregate.input, tuple(Named(name, column(name)) for name in kept))


def by_distinct_argument(aggregate: Aggregate) -> Node | None:
    """An aggregate without keys as a row of several: one over all rows, one over each argument's
    distinct values, which can be met by hash and folded in parts.

    None if no call, or one of a kind that cannot be separated, is over DISTINCT values.
    """
    tokens = _Tokens(aggregate)
    parts: dict[Expr | None, list[Named]] = {}
    for name, call in zip(tokens.names, tokens.calls.values(), strict=True):
        over = [argument for argument in call.arguments if isinstance(argument, exp.Distinct)]
        if not over:
            parts.setdefault(None, []).append(Named(name, call.tree))
            continue
        if len(call.arguments) > 1 or len(over[0].expressions) > 1 or not _is_bare(call.tree):
            return None
        tree = call.tree.copy()
        for found in list(tree.find_all(exp.Distinct)):
            found.replace(column(_VALUE))
        parts.setdefault(over[0].expressions[0], []).append(Named(name, tree))
    if parts.keys() <= {None}:
        return None
    rows: list[Node] = []
    for argument, calls in parts.items():
        source = aggregate.input
        if argument is not None:
            source = Distinct(Project(source, (Named(_VALUE, argument),)))
        rows.append(Aggregate(source, (), tuple(calls)))
    joined = reduce(lambda left, right: Join(left, right, JoinKind.CROSS), rows)
    wanted = [Named(one.name, tokens.over_folded(one.expression)) for one in aggregate.aggregates]
    return Project(joined, tuple(wanted))


_VALUE = "#value"


def _is_bare(call: Expr) -> bool:
    """Without FILTER and the like around it."""
    return not isinstance(call, exp.Filter | exp.WithinGroup | exp.IgnoreNulls | exp.RespectNulls)
