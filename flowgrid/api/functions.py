"""The words of an expression: `col`, `lit`, `when`, aggregates, window functions.

A string argument is SQL, of which a column's name is the shortest kind: ``fg.sum("price * amount")``.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from flowgrid.api.column import (
    Column,
    IntoColumn,
    Operand,
    call,
    flatten,
    from_sql,
    into_column,
    into_order,
)
from flowgrid.expr.tree import Expr, column, literal, parse, to_sql


def col(name: str) -> Column:
    """The column of that name; ``col("*")`` is every column."""
    return Column(exp.Star() if name == "*" else column(name), name)


def lit(value: Operand) -> Column:
    """A constant: None, bool, number, text, bytes, date, time, list or dict."""
    return Column(literal(value), "literal")


def sql_expr(text: str) -> Column:
    """Any expression that the kernel knows, as SQL text of DuckDB's dialect."""
    return from_sql(text)


# -- rows to one value -----------------------------------------------------------------------------


def count(value: IntoColumn = "*") -> Column:
    """How many rows there are; with an argument, how many of its values are not NULL."""
    if isinstance(value, str) and value == "*":
        return Column(parse("count(*)"), "count")
    return into_column(value).count()


def sum(value: IntoColumn) -> Column:
    return into_column(value).sum()


def mean(value: IntoColumn) -> Column:
    return into_column(value).mean()


avg = mean


def min(value: IntoColumn) -> Column:
    return into_column(value).min()


def max(value: IntoColumn) -> Column:
    return into_column(value).max()


def median(value: IntoColumn) -> Column:
    return into_column(value).median()


def std(value: IntoColumn) -> Column:
    """The standard deviation of a sample."""
    return into_column(value).std()


def var(value: IntoColumn) -> Column:
    """The variance of a sample."""
    return into_column(value).var()


def first(value: IntoColumn) -> Column:
    return into_column(value).first()


def last(value: IntoColumn) -> Column:
    return into_column(value).last()


def any_value(value: IntoColumn) -> Column:
    """Some value of the group that is not NULL."""
    return into_column(value).any_value()


def n_unique(value: IntoColumn) -> Column:
    return into_column(value).n_unique()


def approx_n_unique(value: IntoColumn) -> Column:
    """About how many different values there are (HyperLogLog)."""
    return into_column(value).call("approx_count_distinct")


def quantile(value: IntoColumn, quantile: float) -> Column:
    return into_column(value).quantile(quantile)


def corr(a: IntoColumn, b: IntoColumn) -> Column:
    """The correlation of two columns (Pearson)."""
    return into_column(a).call("corr", into_column(b))


def string_agg(value: IntoColumn, separator: str = ",", *, order_by: IntoColumn = None) -> Column:
    """The texts of the group in one, in the order of `order_by` if it is given."""
    found = into_column(value)
    return found.derive(_aggregate("string_agg", [found.expression, literal(separator)], order_by))


def list(value: IntoColumn, *, order_by: IntoColumn = None) -> Column:
    """The values of the group as a list, in the order of `order_by` if it is given."""
    found = into_column(value)
    return found.derive(_aggregate("list", [found.expression], order_by))


array_agg = list


def _aggregate(function: str, arguments: Sequence[Expr], order_by: IntoColumn) -> Expr:
    order = "" if order_by is None else f" ORDER BY {to_sql(into_order(order_by).expression)}"
    return parse(f"{function}({', '.join(map(to_sql, arguments))}{order})")


# -- rows beside each other, with over() -----------------------------------------------------------


def row_number() -> Column:
    """The position of the row in its window, from 1."""
    return Column(call("row_number"), "row_number")


def rank() -> Column:
    return Column(call("rank"), "rank")


def dense_rank() -> Column:
    return Column(call("dense_rank"), "dense_rank")


def ntile(n: int) -> Column:
    """Which of `n` equal shares of its window the row is in, from 1."""
    return Column(call("ntile", n), "ntile")


def lag(value: IntoColumn, n: int = 1, default: Operand = None) -> Column:
    """The value `n` rows before."""
    return into_column(value).call("lag", n, default)


def lead(value: IntoColumn, n: int = 1, default: Operand = None) -> Column:
    """The value `n` rows after."""
    return into_column(value).call("lead", n, default)


# -- several columns to one ------------------------------------------------------------------------


def coalesce(*values: IntoColumn) -> Column:
    """The first value that is not NULL."""
    return _of_all("coalesce", values)


def greatest(*values: IntoColumn) -> Column:
    return _of_all("greatest", values)


def least(*values: IntoColumn) -> Column:
    return _of_all("least", values)


def concat_str(*values: IntoColumn, separator: str = "") -> Column:
    """The values as one text; NULL is left out."""
    found = [into_column(value) for value in flatten(values)]
    return found[0].derive(call("concat_ws", separator, *found))


def struct(*values: IntoColumn, **named: IntoColumn) -> Column:
    """One value with a field per argument, named as the arguments are."""
    fields = [into_column(value) for value in flatten(values)]
    fields += [into_column(value).alias(name) for name, value in named.items()]
    items = [
        exp.PropertyEQ(this=exp.to_identifier(field.name, quoted=True), expression=field.expression)
        for field in fields
    ]
    return Column(exp.Struct(expressions=items), fields[0].name)


def _of_all(function: str, values: tuple[IntoColumn, ...]) -> Column:
    found = [into_column(value) for value in flatten(values)]
    return found[0].derive(call(function, *found))


# -- conditions ------------------------------------------------------------------------------------


class Then(Column):
    """``when(…).then(…)`` so far: a Column that is NULL where no condition was true."""

    __slots__ = ("_branches",)

    def __init__(self, branches: tuple[tuple[Expr, Column], ...]) -> None:
        super().__init__(_case(branches, None), branches[0][1].name)
        self._branches = branches

    def when(self, condition: IntoColumn) -> When:
        return When(condition, self._branches)

    def otherwise(self, value: IntoColumn) -> Column:
        return self.derive(_case(self._branches, into_column(value).expression))


class When:
    """``when(…)``, to be followed by ``then(…)``."""

    def __init__(
        self, condition: IntoColumn, branches: tuple[tuple[Expr, Column], ...] = ()
    ) -> None:
        self._condition = into_column(condition).expression
        self._branches = branches

    def then(self, value: IntoColumn) -> Then:
        return Then((*self._branches, (self._condition, into_column(value))))


def when(condition: IntoColumn) -> When:
    """``when(a > 0).then("x").when(…).then(…).otherwise(0)``; strings are SQL, text is `lit`."""
    return When(condition)


def _case(branches: tuple[tuple[Expr, Column], ...], default: Expr | None) -> exp.Case:
    ifs = [exp.If(this=condition, true=value.expression) for condition, value in branches]
    return exp.Case(ifs=ifs, default=default)
