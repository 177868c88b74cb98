"""Column: what users write expressions with; a thin cover of a sqlglot tree and the name it becomes.

In the operators and methods of a Column a string is a text value (``col("a") == "x"``); in functions
and in the verbs of a DataFrame it is SQL (``fg.sum("a * b")``), of which a column's name is the
shortest kind.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeAlias, Union

from sqlglot import exp

from flowgrid.api.namespaces import (
    ListNamespace,
    StringNamespace,
    StructNamespace,
    TimeNamespace,
)
from flowgrid.errors import PlanError
from flowgrid.expr.tree import Expr, bracketed, column, literal, parse, to_sql
from flowgrid.expr.types import kernel_type

if TYPE_CHECKING:
    import pyarrow as pa

Operand: TypeAlias = object
"""A Column, or a Python value that becomes a literal."""

IntoColumn: TypeAlias = Union["Column", str, int, float, bool, None]
"""A Column, SQL text, or a plain value."""

IntoType: TypeAlias = Union[str, type, "pa.DataType"]
"""A type as SQL text (``"DECIMAL(15,2)"``), as a Python type or as an Arrow type."""


class Column:
    """An expression over the columns of a frame. Made by `col`, `lit` and the functions of flowgrid."""

    __slots__ = ("expression", "name")
    __hash__ = object.__hash__

    def __init__(self, expression: Expr, name: str) -> None:
        self.expression = expression
        self.name = name

    def __repr__(self) -> str:
        return f"Column({to_sql(self.expression)} AS {self.name})"

    def __bool__(self) -> bool:
        raise PlanError(
            "the truth of a Column is not known before the query runs: "
            "write & for and, | for or, ~ for not, each side in parentheses"
        )

    def derive(self, expression: Expr) -> Column:
        """A Column of the same name."""
        return Column(expression, self.name)

    def call(self, function: str, *arguments: Operand) -> Column:
        """The kernel's function of this Column and further arguments."""
        return self.derive(call(function, self, *arguments))

    def alias(self, name: str) -> Column:
        """The same expression under another name."""
        return Column(self.expression, name)

    # -- operators -----------------------------------------------------------------------------

    def __add__(self, other: Operand) -> Column:
        return _binary(exp.Add, self, other)

    def __radd__(self, other: Operand) -> Column:
        return _binary(exp.Add, other, self)

    def __sub__(self, other: Operand) -> Column:
        return _binary(exp.Sub, self, other)

    def __rsub__(self, other: Operand) -> Column:
        return _binary(exp.Sub, other, self)

    def __mul__(self, other: Operand) -> Column:
        return _binary(exp.Mul, self, other)

    def __rmul__(self, other: Operand) -> Column:
        return _binary(exp.Mul, other, self)

    def __truediv__(self, other: Operand) -> Column:
        return _binary(exp.Div, self, other)

    def __rtruediv__(self, other: Operand) -> Column:
        return _binary(exp.Div, other, self)

    def __floordiv__(self, other: Operand) -> Column:
        """Integer division, rounded towards zero as in SQL."""
        return _binary(exp.IntDiv, self, other)

    def __rfloordiv__(self, other: Operand) -> Column:
        return _binary(exp.IntDiv, other, self)

    def __mod__(self, other: Operand) -> Column:
        """The remainder, with the sign of the left side as in SQL."""
        return _binary(exp.Mod, self, other)

    def __rmod__(self, other: Operand) -> Column:
        return _binary(exp.Mod, other, self)

    def __pow__(self, other: Operand) -> Column:
        return self.call("power", other)

    def __neg__(self) -> Column:
        return self.derive(exp.Neg(this=bracketed(self.expression, exp.Neg())))

    def __and__(self, other: Operand) -> Column:
        return _binary(exp.And, self, other)

    def __rand__(self, other: Operand) -> Column:
        return _binary(exp.And, other, self)

    def __or__(self, other: Operand) -> Column:
        return _binary(exp.Or, self, other)

    def __ror__(self, other: Operand) -> Column:
        return _binary(exp.Or, other, self)

    def __invert__(self) -> Column:
        return self.derive(exp.Not(this=bracketed(self.expression, exp.Not())))

    def __eq__(self, other: Operand) -> Column:  # type: ignore[override]
        return _binary(exp.EQ, self, other)

    def __ne__(self, other: Operand) -> Column:  # type: ignore[override]
        return _binary(exp.NEQ, self, other)

    def __lt__(self, other: Operand) -> Column:
        return _binary(exp.LT, self, other)

    def __le__(self, other: Operand) -> Column:
        return _binary(exp.LTE, self, other)

    def __gt__(self, other: Operand) -> Column:
        return _binary(exp.GT, self, other)

    def __ge__(self, other: Operand) -> Column:
        return _binary(exp.GTE, self, other)

    def eq_missing(self, other: Operand) -> Column:
        """Equality in which NULL equals NULL."""
        return _binary(exp.NullSafeEQ, self, other)

    # -- tests and values ----------------------------------------------------------------------

    def is_null(self) -> Column:
        return self.derive(exp.Is(this=bracketed(self.expression, exp.Is()), expression=exp.null()))

    def is_not_null(self) -> Column:
        return ~self.is_null()

    def is_nan(self) -> Column:
        return self.call("isnan")

    def is_in(self, values: Iterable[Operand]) -> Column:
        """Whether the value is one of `values`; NULL is in nothing."""
        items = [operand(value) for value in values]
        if not items:
            return self.derive(exp.And(this=exp.false(), expression=self.is_null().expression))
        return self.derive(exp.In(this=bracketed(self.expression, exp.In()), expressions=items))

    def between(self, lower: Operand, upper: Operand) -> Column:
        """Whether lower <= value <= upper."""
        parts = [bracketed(operand(part), exp.Between()) for part in (self, lower, upper)]
        return self.derive(exp.Between(this=parts[0], low=parts[1], high=parts[2]))

    is_between = between

    def fill_null(self, value: Operand) -> Column:
        return self.call("coalesce", value)

    def cast(self, type_: IntoType, *, strict: bool = True) -> Column:
        """The value as another type; what does not convert fails the job, or is NULL unless `strict`."""
        keyword = "CAST" if strict else "TRY_CAST"
        return self.derive(
            parse(f"{keyword}({to_sql(self.expression)} AS {kernel_type(type_)})"),
        )

    def abs(self) -> Column:
        return self.call("abs")

    def round(self, decimals: int = 0) -> Column:
        return self.call("round", decimals)

    def floor(self) -> Column:
        return self.call("floor")

    def ceil(self) -> Column:
        return self.call("ceil")

    def sqrt(self) -> Column:
        return self.call("sqrt")

    def exp(self) -> Column:
        return self.call("exp")

    def log(self, base: float | None = None) -> Column:
        """The natural logarithm, or that to `base`."""
        return self.call("ln") if base is None else self.derive(call("log", base, self))

    def sign(self) -> Column:
        return self.call("sign")

    def clip(self, lower: Operand = None, upper: Operand = None) -> Column:
        """The value, but at least `lower` and at most `upper`; None is no bound."""
        floored = self if lower is None else self.call("greatest", lower)
        return floored if upper is None else floored.call("least", upper)

    # -- over many rows ------------------------------------------------------------------------

    def sum(self) -> Column:
        return self.call("sum")

    def mean(self) -> Column:
        return self.call("avg")

    def min(self) -> Column:
        return self.call("min")

    def max(self) -> Column:
        return self.call("max")

    def count(self) -> Column:
        """How many values are not NULL."""
        return self.call("count")

    def n_unique(self) -> Column:
        """How many different values there are; NULL is none."""
        return self.derive(parse(f"count(DISTINCT {to_sql(self.expression)})"))

    def median(self) -> Column:
        return self.call("median")

    def std(self) -> Column:
        return self.call("stddev_samp")

    def var(self) -> Column:
        return self.call("var_samp")

    def quantile(self, quantile: float) -> Column:
        """The value below which this share (0 to 1) of the values lies, interpolated."""
        return self.call("quantile_cont", quantile)

    def first(self) -> Column:
        return self.call("first")

    def last(self) -> Column:
        return self.call("last")

    def any_value(self) -> Column:
        return self.call("any_value")

    def implode(self) -> Column:
        """All values of the group as one list."""
        return self.call("list")

    def shift(self, n: int = 1) -> Column:
        """The value `n` rows before, within `over(…)`."""
        return self.call("lag", n)

    def filter(self, predicate: IntoColumn) -> Column:
        """An aggregate over those rows only for which `predicate` is true."""
        condition = to_sql(into_column(predicate).expression)
        return self.derive(parse(f"{to_sql(self.expression)} FILTER (WHERE {condition})"))

    def over(
        self,
        *partition_by: IntoColumn | Sequence[IntoColumn],
        order_by: IntoColumn | Sequence[IntoColumn] = (),
        frame: str = "",
    ) -> Column:
        """The aggregate or window function over the rows with the same `partition_by`.

        With `order_by` an aggregate runs up to the current row, as in SQL, unless `frame` says
        otherwise (``"ROWS BETWEEN 2 PRECEDING AND CURRENT ROW"``).
        """
        keys = [into_column(key) for key in flatten(partition_by)]
        order = [into_order(key) for key in flatten([order_by])]
        window = [
            "PARTITION BY " + ", ".join(to_sql(key.expression) for key in keys) if keys else "",
            "ORDER BY " + ", ".join(to_sql(key.expression) for key in order) if order else "",
            frame,
        ]
        text = f"{to_sql(self.expression)} OVER ({' '.join(part for part in window if part)})"
        return self.derive(parse(text))

    def asc(self, *, nulls_last: bool = False) -> Column:
        """As a key of a sort: the smallest first."""
        return self.derive(ordered(self.expression, descending=False, nulls_last=nulls_last))

    def desc(self, *, nulls_last: bool = False) -> Column:
        """As a key of a sort: the largest first."""
        return self.derive(ordered(self.expression, descending=True, nulls_last=nulls_last))

    # -- by kind of value ----------------------------------------------------------------------

    @property
    def str(self) -> StringNamespace[Column]:
        return StringNamespace(self)

    @property
    def dt(self) -> TimeNamespace[Column]:
        return TimeNamespace(self)

    @property
    def list(self) -> ListNamespace[Column]:
        return ListNamespace(self)

    @property
    def struct(self) -> StructNamespace[Column]:
        return StructNamespace(self)


def operand(value: Operand) -> Expr:
    """A Column's tree, or a value as a literal. Raises `PlanError` for what has no literal."""
    return value.expression if isinstance(value, Column) else literal(value)


def call(function: str, *arguments: Operand) -> Expr:
    """The kernel's function of these arguments, as if it had been written in SQL."""
    return parse(f"{function}({', '.join(to_sql(operand(value)) for value in arguments)})")


def into_column(value: IntoColumn, columns: Sequence[str] = ()) -> Column:
    """What a user gave: a Column, the name of one of `columns`, SQL text, or a plain value."""
    if isinstance(value, Column):
        return value
    if isinstance(value, str):
        if value in columns or value.isidentifier():
            return Column(column(value), value)
        return from_sql(value)
    return Column(literal(value), "literal")


def from_sql(text: str) -> Column:
    """One expression of SQL text, named by its AS or else by the text itself."""
    found = parse(text)
    if isinstance(found, exp.Alias):
        return Column(found.this, found.alias)
    return Column(found, found.name if isinstance(found, exp.Column) else text)


def into_order(value: IntoColumn, columns: Sequence[str] = ()) -> Column:
    """A key of a sort; SQL text may say ``a DESC NULLS LAST``."""
    if isinstance(value, str) and value not in columns and not value.isidentifier():
        window = parse(f"row_number() OVER (ORDER BY {value})")
        keys = window.args["order"].expressions
        if len(keys) != 1:
            raise PlanError(f"{value!r} is more than one sort key: give a list")
        if value.split()[-1].casefold() in ("asc", "desc", "first", "last"):
            return Column(keys[0], value)
        return Column(keys[0].this, value)
    return into_column(value, columns)


def ordered(expression: Expr, *, descending: bool, nulls_last: bool) -> exp.Ordered:
    return exp.Ordered(this=expression, desc=descending, nulls_first=not nulls_last)


def flatten(values: Iterable[IntoColumn | Sequence[IntoColumn]]) -> list[IntoColumn]:
    """Arguments given one by one or as lists, in order."""
    found: list[IntoColumn] = []
    for value in values:
        if isinstance(value, list | tuple):
            found.extend(value)
        else:
            found.append(value)  # type: ignore[arg-type]  # a str is a Sequence too
    return found


def _binary(kind: Callable[..., Expr], left: Operand, right: Operand) -> Column:
    named = left if isinstance(left, Column) else right
    assert isinstance(named, Column)
    parent = exp.Add()
    return named.derive(
        kind(this=bracketed(operand(left), parent), expression=bracketed(operand(right), parent))
    )
