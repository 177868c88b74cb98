"""Functions by kind of value: ``.str``, ``.dt``, ``.list``, ``.struct``. Names are those of Polars.

Positions count from 0 and negative ones from the end, as in Python; the kernel counts from 1.
"""

from __future__ import annotations

from typing import Generic, Protocol, TypeVar

from sqlglot import exp

from flowgrid.errors import PlanError
from flowgrid.expr.tree import Expr, literal, parse, to_sql


class Derivable(Protocol):
    """What a namespace needs of a Column."""

    @property
    def expression(self) -> Expr: ...

    def derive(self: C, expression: Expr) -> C: ...

    def call(self: C, function: str, *arguments: object) -> C: ...


C = TypeVar("C", bound=Derivable)

_PAD = "pad({x}, CAST(greatest({n}, length({x})) AS INTEGER), {c})"
"""The kernel's own would also cut what is too long."""

_WHITESPACE = " \t\n\r\v\f"


class _Namespace(Generic[C]):
    def __init__(self, column: C) -> None:
        self._column = column

    def _template(self, template: str, **values: object) -> C:
        """SQL with ``{x}`` for the column and further names for values."""
        parts = {
            name: to_sql(getattr(value, "expression", None) or literal(value))
            for name, value in values.items()
        }
        return self._column.derive(parse(template.format(x=self._text, **parts)))

    @property
    def _text(self) -> str:
        return to_sql(self._column.expression)


class StringNamespace(_Namespace[C]):
    """Functions of text. Patterns are RE2 regular expressions unless `literal` is true."""

    def contains(self, pattern: object, *, literal: bool = False) -> C:
        return self._column.call("contains" if literal else "regexp_matches", pattern)

    def starts_with(self, prefix: object) -> C:
        return self._column.call("starts_with", prefix)

    def ends_with(self, suffix: object) -> C:
        return self._column.call("ends_with", suffix)

    def like(self, pattern: object) -> C:
        """SQL's LIKE: % is any text, _ any character."""
        return self._template("({x}) LIKE {pattern}", pattern=pattern)

    def to_uppercase(self) -> C:
        return self._column.call("upper")

    def to_lowercase(self) -> C:
        return self._column.call("lower")

    def len_chars(self) -> C:
        return self._column.call("length")

    def len_bytes(self) -> C:
        return self._column.call("strlen")

    def slice(self, offset: int, length: int | None = None) -> C:
        start = offset + 1 if offset >= 0 else offset
        return self._column.call("substring", start, *([] if length is None else [length]))

    def head(self, n: int = 5) -> C:
        return self._column.call("left", n)

    def tail(self, n: int = 5) -> C:
        return self._column.call("right", n)

    def replace(self, pattern: object, value: object, *, literal: bool = False) -> C:
        """The text with the first match replaced."""
        if literal:
            # Not the kernel's flag "l": sqlglot loses it.
            return self._template(
                "regexp_replace({x}, regexp_escape({p}), replace({v}, '\\', '\\\\'))",
                p=pattern, v=value,
            )  # fmt: skip
        return self._column.call("regexp_replace", pattern, value)

    def replace_all(self, pattern: object, value: object, *, literal: bool = False) -> C:
        if literal:
            return self._column.call("replace", pattern, value)
        return self._column.call("regexp_replace", pattern, value, "g")

    def extract(self, pattern: object, group_index: int = 1) -> C:
        """The group of the first match, or NULL where nothing matches."""
        return self._template(
            "CASE WHEN regexp_matches({x}, {p}) THEN regexp_extract({x}, {p}, {g}) END",
            p=pattern, g=group_index,
        )  # fmt: skip

    def extract_all(self, pattern: object) -> C:
        return self._column.call("regexp_extract_all", pattern)

    def count_matches(self, pattern: object) -> C:
        return self._template("len(regexp_extract_all({x}, {p}))", p=pattern)

    def split(self, by: object) -> C:
        """A list of the parts between the separators."""
        return self._column.call("string_split", by)

    def strip_chars(self, characters: str = _WHITESPACE) -> C:
        return self._column.call("trim", characters)

    def strip_chars_start(self, characters: str = _WHITESPACE) -> C:
        return self._column.call("ltrim", characters)

    def strip_chars_end(self, characters: str = _WHITESPACE) -> C:
        return self._column.call("rtrim", characters)

    def pad_start(self, length: int, fill_char: str = " ") -> C:
        return self._template(_PAD.replace("pad", "lpad"), n=length, c=fill_char)

    def pad_end(self, length: int, fill_char: str = " ") -> C:
        return self._template(_PAD.replace("pad", "rpad"), n=length, c=fill_char)

    def reverse(self) -> C:
        return self._column.call("reverse")

    def to_date(self, format: str | None = None) -> C:
        """The text as a date, by a ``strptime`` format or as ISO 8601."""
        if format is None:
            return self._template("CAST({x} AS DATE)")
        return self._template("CAST(strptime({x}, {f}) AS DATE)", f=format)

    def to_datetime(self, format: str | None = None) -> C:
        if format is None:
            return self._template("CAST({x} AS TIMESTAMP)")
        return self._column.call("strptime", format)


class TimeNamespace(_Namespace[C]):
    """Functions of dates, times and timestamps."""

    def year(self) -> C:
        return self._column.call("year")

    def quarter(self) -> C:
        return self._column.call("quarter")

    def month(self) -> C:
        return self._column.call("month")

    def week(self) -> C:
        """The ISO week of the year."""
        return self._column.call("week")

    def day(self) -> C:
        return self._column.call("day")

    def weekday(self) -> C:
        """Monday is 1, Sunday is 7."""
        return self._column.call("isodow")

    def ordinal_day(self) -> C:
        """The day of the year, from 1."""
        return self._column.call("dayofyear")

    def hour(self) -> C:
        return self._column.call("hour")

    def minute(self) -> C:
        return self._column.call("minute")

    def second(self) -> C:
        return self._column.call("second")

    def date(self) -> C:
        return self._template("CAST({x} AS DATE)")

    def truncate(self, every: str) -> C:
        """The start of the "year", "quarter", "month", "week", "day", "hour", "minute", "second"."""
        return self._column.derive(parse(f"date_trunc({to_sql(literal(every))}, {self._text})"))

    def month_start(self) -> C:
        return self.truncate("month")

    def month_end(self) -> C:
        return self._column.call("last_day")

    def strftime(self, format: str) -> C:
        return self._column.call("strftime", format)

    to_string = strftime

    def epoch(self, time_unit: str = "us") -> C:
        """Time since 1970-01-01 in "ns", "us", "ms", "s" (whole numbers) or "d" (days)."""
        match time_unit:
            case "ns" | "us" | "ms":
                return self._column.call(f"epoch_{time_unit}")
            case "s":
                return self._template("CAST(floor(epoch({x})) AS BIGINT)")
            case "d":
                return self._template("date_diff('day', DATE '1970-01-01', CAST({x} AS DATE))")
        raise PlanError(f"{time_unit!r} is no unit of time: ns, us, ms, s or d")


class ListNamespace(_Namespace[C]):
    """Functions of lists."""

    def len(self) -> C:
        return self._column.call("len")

    def get(self, index: int) -> C:
        """The item at `index`; NULL where there is none."""
        return self._column.call("list_extract", index + 1 if index >= 0 else index)

    def first(self) -> C:
        return self.get(0)

    def last(self) -> C:
        return self.get(-1)

    def slice(self, offset: int, length: int | None = None) -> C:
        start = offset + 1 if offset >= 0 else offset
        if length is None:
            return self._template("list_slice({x}, {a}, -1)", a=start)
        stop = "{a} + {n} - 1" if offset >= 0 else "len({x}) + 1 + {a} + {n} - 1"
        return self._template("list_slice({x}, {a}, " + stop + ")", a=start, n=length)

    def contains(self, item: object) -> C:
        return self._column.call("list_contains", item)

    def sort(self, *, descending: bool = False) -> C:
        return self._column.call("list_reverse_sort" if descending else "list_sort")

    def reverse(self) -> C:
        return self._column.call("list_reverse")

    def unique(self) -> C:
        """Each item once, NULL left out; in no particular order."""
        return self._column.call("list_distinct")

    def n_unique(self) -> C:
        return self._column.call("list_unique")

    def sum(self) -> C:
        return self._column.call("list_sum")

    def min(self) -> C:
        return self._column.call("list_min")

    def max(self) -> C:
        return self._column.call("list_max")

    def mean(self) -> C:
        return self._column.call("list_avg")

    def join(self, separator: str) -> C:
        return self._column.call("array_to_string", separator)


class StructNamespace(_Namespace[C]):
    """Functions of structs."""

    def field(self, name: str) -> C:
        return self._column.derive(
            exp.Dot(
                this=exp.Paren(this=self._column.expression.copy()),
                expression=exp.to_identifier(name, quoted=True),
            )
        )
