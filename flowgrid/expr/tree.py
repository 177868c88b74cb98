"""Expressions are sqlglot syntax trees in DuckDB's dialect; this is how FlowGrid builds and reads them.

Columns are unqualified and quoted: within a plan every relation has unique column names, compared
without regard to case, as the kernel does. Trees are never changed in place: what a function returns
is new, what it was given stays.
"""

from __future__ import annotations

import datetime
import decimal
import uuid
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError

from flowgrid.errors import PlanError, SqlSyntaxError

Expr: TypeAlias = exp.Expr

NONDETERMINISTIC = frozenset(
    {"random", "rand", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "nextval", "setseed"}
)
"""Functions whose value is not a function of their arguments."""


def column(name: str) -> exp.Column:
    """The column of that name."""
    return exp.Column(this=exp.Identifier(this=name, quoted=True))


def literal(value: object) -> Expr:
    """A Python value as an expression: None, bool, numbers, text, bytes, dates, lists, dicts.

    Raises `PlanError` for a value that SQL has no literal for.
    """
    match value:
        case None | bool() | int() | str():
            return exp.convert(value)
        case float() if value != value or value in (float("inf"), float("-inf"), 0.0):
            return cast(exp.Literal.string(str(value)), "DOUBLE")  # -0.0 is no number but a text
        case float():
            return cast(exp.Literal.number(float.__repr__(value)), "DOUBLE")
        case decimal.Decimal():
            return _decimal(value)
        case bytes():
            return cast(exp.Literal.string("".join(f"\\x{byte:02X}" for byte in value)), "BLOB")
        case datetime.datetime():
            kind = "TIMESTAMP" if value.tzinfo is None else "TIMESTAMPTZ"
            return cast(exp.Literal.string(value.isoformat(sep=" ")), kind)
        case datetime.date():
            return cast(exp.Literal.string(value.isoformat()), "DATE")
        case datetime.time():
            return cast(exp.Literal.string(value.isoformat()), "TIME")
        case datetime.timedelta():
            microseconds = (value.days * 86_400 + value.seconds) * 1_000_000 + value.microseconds
            return exp.func("to_microseconds", exp.convert(microseconds))
        case list() | tuple():
            return exp.Array(expressions=[literal(item) for item in value])
        case dict():
            fields = [
                exp.PropertyEQ(
                    this=exp.to_identifier(str(key), quoted=True), expression=literal(item)
                )
                for key, item in value.items()
            ]
            return exp.Struct(expressions=fields)
        case uuid.UUID():
            return cast(exp.Literal.string(str(value)), "UUID")
    for method in ("as_py", "tolist"):  # a value of pyarrow; one of NumPy's, or an array
        plain = getattr(value, method, None)
        if callable(plain):
            return literal(plain())
    raise PlanError(
        f"{value!r} of type {type(value).__name__} cannot be written as a literal; "
        "give a number, text, bytes, date, time, list or dict"
    )


def _decimal(value: decimal.Decimal) -> Expr:
    if not value.is_finite():
        raise PlanError(f"{value} has no decimal literal; use a float")
    _, digits, exponent = value.as_tuple()
    scale = max(0, -int(exponent))
    width = max(len(digits) + max(0, int(exponent)), scale, 1)
    return cast(exp.Literal.string(f"{value:f}"), f"DECIMAL({width},{scale})")


def cast(expression: Expr, type_: str) -> Expr:
    """CAST(expression AS type), the type in the kernel's words."""
    return exp.Cast(this=expression, to=exp.DataType.build(type_, dialect="duckdb", udt=True))


def parse(text: str) -> Expr:
    """One expression from SQL text. Raises `SqlSyntaxError` with the position."""
    try:
        parsed = sqlglot.parse_one(f"SELECT {text}", read="duckdb")
    except SqlglotError as error:
        raise syntax_error(error, text, offset=len("SELECT ")) from None
    if (
        not isinstance(parsed, exp.Select)
        or len(parsed.expressions) != 1
        or len(_clauses(parsed)) > 1
    ):
        raise SqlSyntaxError(f"{text!r} is not one expression")
    found: Expr = parsed.expressions[0]
    found.pop()
    return faithful(found)


def faithful(tree: Expr) -> Expr:
    """The tree with calls whose options sqlglot would drop kept as they were written."""

    def replace(node: Expr) -> Expr:
        options = node.args.get("modifiers") or node.args.get("parameters")
        if not isinstance(node, exp.RegexpReplace | exp.RegexpExtractAll) or options is None:
            return node
        name = "regexp_replace" if isinstance(node, exp.RegexpReplace) else "regexp_extract_all"
        third = node.args.get("replacement") or node.args.get("group")
        return exp.Anonymous(this=name, expressions=[node.this, node.expression, third, options])

    return tree.transform(replace, copy=False)


def _clauses(select: exp.Select) -> list[str]:
    return [name for name, value in select.args.items() if value]


def syntax_error(error: SqlglotError, text: str, offset: int = 0) -> SqlSyntaxError:
    """sqlglot's error in our words; `offset` characters of the first line were not the user's."""
    details = getattr(error, "errors", None) or [{}]
    line, position = details[0].get("line"), details[0].get("col")
    message = str(details[0].get("description") or error).split("\n")[0].rstrip(".")
    if line == 1 and position is not None:
        position = max(1, position - offset)
    near = details[0].get("highlight") or ""
    return SqlSyntaxError(message + (f" near {near!r}" if near else ""), line, position)


def to_sql(expression: Expr) -> str:
    """The expression as SQL text of the kernel."""
    return expression.sql(dialect="duckdb", comments=False)


def quote(name: str) -> str:
    """A name as a quoted SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def columns_of(expression: Expr) -> list[str]:
    """Names of the columns an expression reads, each once, in order of appearance."""
    return list(dict.fromkeys(found.name for found in expression.find_all(exp.Column, bfs=False)))


def replace_columns(expression: Expr, replacements: Mapping[str, Expr]) -> Expr:
    """The expression with columns replaced, by casefolded name; others stay."""

    def replace(node: Expr) -> Expr:
        if isinstance(node, exp.Column):
            found = replacements.get(node.name.casefold())
            if found is not None:
                return bracketed(found, node.parent)
        return node

    return expression.copy().transform(replace, copy=False)


def bracketed(expression: Expr, parent: Expr | None) -> Expr:
    """A copy that keeps its meaning below `parent`: in parentheses where precedence needs them."""
    copy = expression.copy()
    needs = isinstance(copy, exp.Binary | exp.Unary | exp.Between | exp.In | exp.Is | exp.Lambda)
    return exp.Paren(this=copy) if needs and parent is not None else copy


def conjuncts(predicate: Expr | None) -> Iterator[Expr]:
    """The parts of a predicate that AND joins, without outer parentheses."""
    if predicate is None:
        return
    inner = predicate.unnest()
    if isinstance(inner, exp.And):
        yield from conjuncts(inner.left)
        yield from conjuncts(inner.right)
    else:
        yield inner


def conjunction(predicates: Iterable[Expr]) -> Expr | None:
    """The predicates joined by AND; None if there is none."""
    parts = list(predicates)
    if len(parts) > 1:
        parts = [bracketed(part, exp.And()) for part in parts]
    if not parts:
        return None
    joined = parts[0]
    for part in parts[1:]:
        joined = exp.And(this=joined, expression=part)
    return joined


def equality(left: Expr, right: Expr) -> Expr:
    return exp.EQ(this=bracketed(left, exp.EQ()), expression=bracketed(right, exp.EQ()))


def is_deterministic(expression: Expr) -> bool:
    """Whether the same rows always give the same values."""
    return not any(
        isinstance(node, exp.Rand | exp.Uuid) or _function_name(node) in NONDETERMINISTIC
        for node in expression.find_all(exp.Func)
    )


def _function_name(node: exp.Expr) -> str:
    return (node.name if isinstance(node, exp.Anonymous) else node.key).lower()


def has_window(expression: Expr) -> bool:
    return expression.find(exp.Window) is not None


def has_subquery(expression: Expr) -> bool:
    return expression.find(exp.Query) is not None
