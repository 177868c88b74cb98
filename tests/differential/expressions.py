"""Expressions without subqueries: values of a wanted kind, conditions, aggregates, window functions."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.differential.dice import Dice
from tests.differential.kinds import EXACT, NUMBERS, VALUES, comparable, literal


@dataclass(frozen=True)
class Column:
    """Something with a name in a scope."""

    sql: str
    kind: str


@dataclass(frozen=True)
class Scope:
    """What may be named: columns of FROM, those of the queries around, and which were joined by."""

    own: Sequence[Column]
    outer: Sequence[Column] = ()
    keys: Sequence[Column] = field(default=())

    def inner(self) -> Sequence[Column]:
        """All that a subquery may name."""
        return [*self.own, *self.outer]


COMPUTED = {
    "i": ["{i} + 1", "-{i}", "coalesce({i}, 0)", "{i} % 3", "nullif({i}, 1)", "length({t})",
          "({r}).p", "len({l})", "{l}[1]", "CAST({o} AS INTEGER)", "extract(day FROM {e})",
          "CASE WHEN {?} THEN {i} END", "CAST({n} AS INTEGER)", "greatest({i}, {b})",
          "CAST({d} AS INTEGER)", "date_diff('day', {e}, {e})", "{i} * {i}"],
    "t": ["{t} || 'z'", "upper({t})", "substr({t}, 1, 1)", "coalesce({t}, '')", "({r}).q",
          "CAST({i} AS VARCHAR)", "CAST({e} AS VARCHAR)", "CASE WHEN {?} THEN {t} END",
          "concat({t}, {i})", "CAST({l} AS VARCHAR)", "trim({t})"],
    "d": ["{d} + 1.5", "-{d}", "coalesce({d}, 0)", "CAST({i} AS DECIMAL(12,2))", "abs({d})",
          "CASE WHEN {?} THEN {d} END", "round({d}, 1)"],
    "x": ["{x} * 2", "-{x}", "coalesce({x}, 0)", "{i} / 2", "CAST({d} AS DOUBLE)",
          "CASE WHEN {?} THEN {x} END", "CAST({i} AS DOUBLE)"],
    "b": ["{b} + 1", "CAST({i} AS BIGINT)", "coalesce({b}, {i})", "-{b}"],
    "n": ["coalesce({n}, '0')", "CAST({i} AS VARCHAR)", "CASE WHEN {?} THEN {n} END"],
    "e": ["{e} + 1", "CAST({s} AS DATE)", "coalesce({e}, DATE '2020-01-01')", "last_day({e})"],
    "s": ["{s} + INTERVAL 1 DAY", "CAST({e} AS TIMESTAMP)", "date_trunc('month', {s})"],
    "o": ["{?}", "NOT {o}", "{i} > 1", "coalesce({o}, false)", "{t} IS NULL", "{o} AND {?}"],
    "l": ["[{i}, NULL]", "list_sort({l})", "list_concat({l}, [{i}])", "coalesce({l}, [])"],
    "r": ["{{'p': {i}, 'q': {t}}}", "CASE WHEN {?} THEN {r} END"],
    "h": ["CAST({i} AS HUGEINT)", "{h} + 1"],
}  # fmt: skip
"""How to come by a value of a kind; `{?}` is a condition, `{i}` something of kind i."""

_PLACE = re.compile(r"\{([a-z?])\}")


class Expressions:
    """Draws SQL that is well typed in a scope."""

    def __init__(self, dice: Dice) -> None:
        self.dice = dice

    # -- values --------------------------------------------------------------------------------

    def column(self, scope: Scope) -> Column:
        """Any column, a key of a join rather, sometimes one of a query around."""
        if scope.keys and self.dice.chance(60):
            return self.dice.pick(scope.keys)
        if scope.outer and (not scope.own or self.dice.chance(10)):
            return self.dice.pick(scope.outer)
        return self.dice.pick(scope.own)

    def value(self, kind: str, scope: Scope, depth: int = 1) -> str:
        """An expression of a kind: a column, something computed, or a literal."""
        found = [one for one in scope.own if one.kind == kind]
        if scope.outer and self.dice.chance(10):
            found = [one for one in scope.outer if one.kind == kind] or found
        if found and (depth <= 0 or self.dice.chance(70)):
            return self.dice.pick(found).sql
        kinds = {one.kind for one in scope.own}
        fitting = [template for template in COMPUTED[kind] if kinds & set(_PLACE.findall(template))]
        if depth > 0 and fitting and not self.dice.chance(10):
            return f"({self._filled(self.dice.pick(fitting), scope, depth - 1)})"
        if found:
            return self.dice.pick(found).sql
        return literal(kind, self.dice.pick(VALUES[kind]))

    def _filled(self, template: str, scope: Scope, depth: int) -> str:
        def fill(place: re.Match[str]) -> str:
            kind = place[1]
            return self.simple(scope) if kind == "?" else self.value(kind, scope, depth)

        return _PLACE.sub(fill, template).replace("{{", "{").replace("}}", "}")

    # -- conditions ----------------------------------------------------------------------------

    def condition(self, scope: Scope) -> str:
        """Comparisons, joined by AND and OR."""
        text = self.simple(scope)
        while self.dice.chance(30):
            operator = self.dice.pick(["AND", "OR"])
            text = f"({text}) {operator} ({self.simple(scope)})"
        return text

    def simple(self, scope: Scope) -> str:
        left = self.column(scope)
        fitting = [one for one in scope.inner() if comparable(one.kind, left.kind)]
        other = self.dice.pick(fitting).sql
        if other == left.sql or self.dice.chance(60):
            other = literal(left.kind, self.dice.pick(VALUES[left.kind]))
        negation = self.dice.pick(["", "NOT "])
        first = literal(left.kind, VALUES[left.kind][0])
        more = {
            "t": [f"{left.sql} {negation}LIKE 'a%'", f"contains({left.sql}, 'a')"],
            "o": [f"{negation}{left.sql}"],
            "l": [f"list_contains({left.sql}, 1)"],
            "r": [f"({left.sql}).p = 1"],
        }
        return self.dice.pick(
            [
                f"{left.sql} {self.comparison()} {other}",
                f"{left.sql} IS NOT NULL",
                f"{left.sql} IS {negation}NULL",
                f"{left.sql} {negation}IN ({other}, NULL)",
                f"{left.sql} {negation}IN ({other}, {first})",
                f"{left.sql} IS {negation}DISTINCT FROM {other}",
                f"NOT ({left.sql} {self.comparison()} {other})",
                f"coalesce({left.sql} {self.comparison()} {other}, {self.dice.below(2)})",
                *more.get(left.kind, [f"{left.sql} {negation}BETWEEN {first} AND {other}"]),
            ]
        )

    def comparison(self) -> str:
        return self.dice.pick(["=", "<>", "<>", "<", "<=", ">", ">=", ">="])

    # -- aggregates ----------------------------------------------------------------------------

    def aggregate(self, scope: Scope) -> Column:
        """An aggregate call whose value does not depend on the order of rows."""
        one = self.dice.pick(scope.own)
        value = self.value(one.kind, scope) if self.dice.chance(20) else one.sql
        plain: list[tuple[str, str]] = [
            ("count(*)", "i"),
            (f"count({value})", "i"),
            (f"max({value})", one.kind),
            (f"min({value})", one.kind),
            (f"count(DISTINCT {value})", "i"),
        ]
        if one.kind in NUMBERS:
            sum_kind = "x" if one.kind == "x" else "d" if one.kind == "d" else "h"
            plain += [
                (f"sum({value})", sum_kind),
                (f"avg({value})", "x"),
                (f"sum(DISTINCT {value})", sum_kind),
                (f"coalesce(sum({value}), -1)", sum_kind),
                (f"median({value})", "x"),
            ]
        if one.kind in "ib":
            plain += [
                (f"list({value} ORDER BY {value})", "l"),
                (f"bit_or({value})", one.kind),
                (f"stddev_pop({value})", "x"),
            ]
        if one.kind == "t":
            plain += [(f"string_agg({value}, ',' ORDER BY {value})", "t")]
        if one.kind == "o":
            plain += [(f"bool_and({value})", "o"), (f"count_if({value})", "i")]
        text, kind = self.dice.pick(plain)
        if self.dice.chance(15) and text.endswith(")") and not text.startswith("coalesce"):
            text = f"{text} FILTER (WHERE {self.simple(scope)})"
        return Column(text, kind)

    # -- windows -------------------------------------------------------------------------------

    def window(self, scope: Scope) -> Column:
        """A window function whose value is one: frames by rows see an order of all columns."""
        partition = ", ".join(self.column(scope).sql for _ in range(self.dice.below(3)))
        by = f"PARTITION BY {partition} " if partition else ""
        one = self.dice.pick(scope.own)
        everything = self.total_order(scope.own)
        by_some = f"{self.dice.pick(scope.own).sql}{self._direction()}"
        numbers = [column for column in scope.own if column.kind in EXACT] or [Column("1", "i")]
        number = self.dice.pick(numbers)
        sum_kind = "d" if number.kind == "d" else "h"
        ranked = self.dice.pick(["rank()", "dense_rank()"])
        located = self.dice.pick(["lag", "lead", "first_value", "last_value"])
        offset = self.dice.below(3)
        frame = self._frame()
        options = [
            Column(f"count(*) OVER ({by})", "i"),
            Column(f"sum({number.sql}) OVER ({by})", sum_kind),
            Column(f"row_number() OVER ({by}ORDER BY {everything})", "i"),
            Column(f"{ranked} OVER ({by}ORDER BY {by_some})", "i"),
            Column(f"sum({number.sql}) OVER ({by}ORDER BY {by_some})", sum_kind),
            Column(f"{located}({one.sql}) OVER ({by}ORDER BY {everything})", one.kind),
            Column(f"max({one.sql}) OVER ({by}ORDER BY {everything} {frame})", one.kind),
            Column(f"sum({number.sql}) OVER ({by}ORDER BY {everything} {frame})", sum_kind),
            Column(f"avg({number.sql}) OVER ({by}ORDER BY {everything} {frame})", "x"),
            Column(f"ntile(3) OVER ({by}ORDER BY {everything})", "i"),
            Column(f"percent_rank() OVER ({by}ORDER BY {by_some})", "x"),
            Column(f"count({one.sql}) FILTER (WHERE {self.simple(scope)}) OVER ({by})", "i"),
            Column(
                f"min({one.sql}) OVER ({by}ORDER BY {number.sql}{self._direction()} "
                f"RANGE BETWEEN {offset} PRECEDING AND 1 FOLLOWING)", one.kind,
            ),
            Column(f"nth_value({one.sql}, 2) OVER ({by}ORDER BY {everything} {frame})", one.kind),
        ]  # fmt: skip
        return self.dice.pick(options)

    def _frame(self) -> str:
        start = self.dice.pick(["UNBOUNDED PRECEDING", "1 PRECEDING", "CURRENT ROW"])
        end = self.dice.pick(["CURRENT ROW", "1 FOLLOWING", "UNBOUNDED FOLLOWING"])
        exclude = self.dice.pick(["", "", "", " EXCLUDE CURRENT ROW", " EXCLUDE TIES"])
        return f"{self.dice.pick(['ROWS', 'GROUPS'])} BETWEEN {start} AND {end}{exclude}"

    def total_order(self, columns: Sequence[Column]) -> str:
        """By all columns: rows that tie are the same rows."""
        return ", ".join(f"{column.sql}{self._direction()}" for column in columns)

    def _direction(self) -> str:
        return self.dice.pick(["", "", "", " DESC", " NULLS FIRST", " DESC NULLS LAST"])
