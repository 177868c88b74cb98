"""Random queries with one answer as a multiset of rows: whatever picks rows orders them by all columns.

Joins come first and keyed verbs above them, because that is where a planner claims most.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tests.differential.dice import Dice
from tests.differential.expressions import Column, Expressions, Scope
from tests.differential.kinds import comparable
from tests.differential.tables import Table

_Named: TypeAlias = tuple[str, list[Column]]
"""A relation that FROM may name, and its columns."""


@dataclass(frozen=True)
class Query:
    """A query's text, and the kinds of its columns, which are called c0, c1, …"""

    sql: str
    kinds: tuple[str, ...]

    def columns(self, alias: str) -> list[Column]:
        return [Column(f"{alias}.c{index}", kind) for index, kind in enumerate(self.kinds)]


class Grammar:
    """Draws a query over some tables."""

    def __init__(self, dice: Dice, tables: Sequence[Table]) -> None:
        self.dice = dice
        self.expressions = Expressions(dice)
        self._tables = [
            (table.name, [Column(name, kind) for name, kind in table.columns]) for table in tables
        ]
        self._aliases = 0
        self._ctes: list[_Named] = []

    def query(self) -> tuple[str, bool]:
        """A whole query, and whether it says the order of its rows."""
        head = self._with() if self.dice.chance(25) else ""
        found = self.select((), 2)
        if self.dice.chance(25):
            ordered = f"{head}SELECT * FROM ({found.sql}) {self._ordered(len(found.kinds))}"
            return ordered, True
        return head + found.sql, False

    def _with(self) -> str:
        parts = []
        for _ in range(1 + self.dice.below(2)):
            found = self.select((), 1)
            name = self._alias("w")
            hint = self.dice.pick(["", "", " MATERIALIZED", " NOT MATERIALIZED"])
            parts.append(f"{name} AS{hint} ({found.sql})")
            columns = [Column(f"c{index}", kind) for index, kind in enumerate(found.kinds)]
            self._ctes.append((name, columns))
        return f"WITH {', '.join(parts)} "

    def _alias(self, letter: str) -> str:
        self._aliases += 1
        return f"{letter}{self._aliases}"

    def _ordered(self, width: int) -> str:
        keys = ", ".join(
            f"{index + 1}{self.dice.pick(['', ' DESC', ' NULLS FIRST'])}" for index in range(width)
        )
        limit = f" LIMIT {self.dice.pick([1, 2, 3, 5, 0])}" if self.dice.chance(60) else ""
        offset = f" OFFSET {self.dice.below(3)}" if self.dice.chance(20) else ""
        return f"ORDER BY {keys}{limit}{offset}"

    # -- one query -----------------------------------------------------------------------------

    def select(
        self, outer: Sequence[Column], depth: int, kinds: Sequence[str] | None = None
    ) -> Query:
        """A query of columns of these kinds, or of any; `outer` are columns of the queries around."""
        if depth > 0 and self.dice.chance(12):
            return self._set_operation(outer, depth - 1, kinds)
        if kinds is None and self.dice.chance(12):
            return self._by_key()
        source, scope = self._from(outer, depth)
        where = f" WHERE {self._where(scope, depth)}" if self.dice.chance(40) else ""
        body = f"FROM {source}{where}"
        form = self.dice.weighted(
            [(30, self._plain), (35, self._grouped), (10, self._totals), (15, self._windowed),
             (6, self._distinct), (6, self._top), (4, self._distinct_on), (4, self._unnested)]
        )  # fmt: skip
        return form(body, scope, depth, kinds)

    def _kinds(self, scope: Scope, kinds: Sequence[str] | None) -> list[str]:
        """The wanted kinds, or those of some columns: the join's keys among them."""
        if kinds is not None:
            return list(kinds)
        return [self.expressions.column(scope).kind for _ in range(1 + self.dice.below(3))]

    def _plain(
        self, body: str, scope: Scope, depth: int, kinds: Sequence[str] | None, distinct: str = ""
    ) -> Query:
        wanted = self._kinds(scope, kinds)
        values = [self._value(kind, scope, depth) for kind in wanted]
        if kinds is None and scope.keys and self.dice.chance(40):  # a key, or what is made of it
            key = self.dice.pick(scope.keys)
            wanted[0] = key.kind
            values[0] = self.expressions.value(key.kind, Scope([key]), self.dice.below(2))
        return Query(f"SELECT {distinct}{_named(values)} {body}", tuple(wanted))

    def _distinct(self, body: str, scope: Scope, depth: int, kinds: Sequence[str] | None) -> Query:
        return self._plain(body, scope, depth, kinds, "DISTINCT ")

    def _top(self, body: str, scope: Scope, depth: int, kinds: Sequence[str] | None) -> Query:
        found = self._plain(body, scope, depth, kinds)
        return Query(f"{found.sql} {self._ordered(len(found.kinds))}", found.kinds)

    def _distinct_on(
        self, body: str, scope: Scope, depth: int, kinds: Sequence[str] | None
    ) -> Query:
        wanted = self._kinds(scope, kinds)
        values = [self.expressions.value(kind, scope) for kind in wanted]
        key = self.expressions.column(scope).sql
        order = f"{key}, {self.expressions.total_order(scope.own)}"
        return Query(
            f"SELECT DISTINCT ON ({key}) {_named(values)} {body} ORDER BY {order}", tuple(wanted)
        )

    def _unnested(self, body: str, scope: Scope, depth: int, kinds: Sequence[str] | None) -> Query:
        if kinds is not None or not any(column.kind == "l" for column in scope.own):
            return self._plain(body, scope, depth, kinds)
        other = self.expressions.column(scope)
        values = [f"unnest({self.expressions.value('l', scope)})", other.sql]
        return Query(f"SELECT {_named(values)} {body}", ("i", other.kind))

    def _totals(self, body: str, scope: Scope, depth: int, kinds: Sequence[str] | None) -> Query:
        """Aggregates over all rows."""
        values = self._aggregates(scope, kinds, 1)
        having = f" HAVING {self._having(scope, [], depth)}" if self.dice.chance(15) else ""
        return _query(values, f"{body}{having}")

    def _aggregates(self, scope: Scope, kinds: Sequence[str] | None, least: int) -> list[Column]:
        if kinds is None:
            count = least + self.dice.below(3)
            return [self.expressions.aggregate(scope) for _ in range(count)]
        return [
            Column(f"{self.dice.pick(['max', 'min'])}({self.expressions.value(kind, scope)})", kind)
            for kind in kinds
        ]

    def _grouped(self, body: str, scope: Scope, depth: int, kinds: Sequence[str] | None) -> Query:
        keys = self._group_keys(scope)
        texts = [key.sql for key in keys]
        group = ", ".join(texts)
        shape = self.dice.weighted([(70, "plain"), (8, "ROLLUP"), (6, "CUBE"), (10, "sets")])
        if shape == "sets":
            sets = [self.dice.distinct(texts, 0, len(texts)) for _ in range(1 + self.dice.below(3))]
            group = f"GROUPING SETS ({', '.join('(' + ', '.join(one) + ')' for one in sets)})"
        elif shape != "plain":
            group = f"{shape} ({group})"
        if kinds is not None:
            values = [
                next((key for key in keys if key.kind == kind), None)
                or self._aggregates(scope, [kind], 1)[0]
                for kind in kinds
            ]
        else:
            shown = [key for key in keys if not self.dice.chance(15)]
            values = [*shown, *self._aggregates(scope, None, 0 if shown else 1)]
            if shape in ("ROLLUP", "CUBE") and self.dice.chance(50):
                values.append(Column(f"grouping({texts[0]})", "i"))
            if self.dice.chance(10):
                total = self.expressions.aggregate(scope).sql
                by = f"PARTITION BY {texts[0]} " if self.dice.chance(50) else ""
                values.append(Column(f"rank() OVER ({by}ORDER BY {total})", "i"))
        having = f" HAVING {self._having(scope, keys, depth)}" if self.dice.chance(25) else ""
        return _query(values, f"{body} GROUP BY {group}{having}")

    def _group_keys(self, scope: Scope) -> list[Column]:
        found: dict[str, Column] = {}
        for _ in range(1 + self.dice.weighted([(5, 0), (4, 1), (1, 2)])):
            key = self.expressions.column(Scope(scope.own, (), scope.keys))
            if self.dice.chance(15):
                inner = Scope(scope.own)
                key = Column(self.expressions.value(key.kind, inner), key.kind)
            found[key.sql] = key
        return list(found.values())

    def _having(self, scope: Scope, keys: Sequence[Column], depth: int) -> str:
        aggregate = self.expressions.aggregate(scope)
        if aggregate.kind not in "ihdx":
            return f"{aggregate.sql} IS NOT NULL"
        other = self.dice.pick(["1", "0", "2"])
        if depth > 0 and self.dice.chance(40):
            other = f"({self._scalar([*keys, *scope.outer], depth - 1, 'i')})"
        return f"{aggregate.sql} {self.dice.pick(['>=', '<', '<>', '='])} {other}"

    def _windowed(self, body: str, scope: Scope, depth: int, kinds: Sequence[str] | None) -> Query:
        wanted = self._kinds(scope, kinds)
        values = [Column(self._value(kind, scope, depth), kind) for kind in wanted]
        own = Scope(scope.own, (), scope.keys)
        if kinds is None:
            values += [self.expressions.window(own) for _ in range(1 + self.dice.below(2))]
        if kinds is not None or self.dice.chance(35):
            window = self.expressions.window(own)
            test = f"{window.sql} IS NOT NULL"
            if window.kind in "ihdx":
                test = (
                    f"{window.sql} {self.dice.pick(['>=', '<=', '=', '<>'])} {self.dice.below(4)}"
                )
            body = f"{body} QUALIFY {test}"
        return _query(values, body)

    def _set_operation(
        self, outer: Sequence[Column], depth: int, kinds: Sequence[str] | None
    ) -> Query:
        left = self.select(outer, depth, kinds)
        right = self.select(outer, depth, left.kinds)
        operator = self.dice.pick(
            ["UNION ALL", "UNION", "INTERSECT", "EXCEPT", "INTERSECT ALL", "EXCEPT ALL"]
        )
        return Query(f"({left.sql}) {operator} ({right.sql})", left.kinds)

    # -- values and conditions, which may have subqueries --------------------------------------

    def _value(self, kind: str, scope: Scope, depth: int) -> str:
        if depth > 0 and self.dice.chance(6):
            return f"({self._scalar(scope.inner(), depth - 1, kind)})"
        if depth > 0 and kind == "o" and self.dice.chance(50):
            return f"({self._test(scope, depth)})"
        return self.expressions.value(kind, scope)

    def _where(self, scope: Scope, depth: int) -> str:
        tests = []
        if scope.outer and self.dice.chance(75):  # what makes it correlated
            tests += self._equalities(scope.own, scope.outer, 1)
        tests.append(self._test(scope, depth))
        while self.dice.chance(20):
            tests.append(self._test(scope, depth - 1))
        text = tests[0]
        for test in tests[1:]:
            text = f"({text}) {self.dice.pick(['AND', 'AND', 'AND', 'OR'])} ({test})"
        return text

    def _test(self, scope: Scope, depth: int) -> str:
        if depth <= 0 or not self.dice.chance(35):
            return self.expressions.simple(scope)
        left = self.expressions.column(scope)
        negation = self.dice.pick(["", "NOT "])
        inner = scope.inner() if self.dice.chance(60) else ()
        match self.dice.below(6):
            case 0 | 5:
                found = self.select(inner, depth - 1, [left.kind])
                return f"{left.sql} {negation}IN ({found.sql})"
            case 1:
                return f"{negation}EXISTS ({self.select(inner, depth - 1).sql})"
            case 2:
                scalar = self._scalar(inner, depth - 1, left.kind)
                return f"{left.sql} {self.expressions.comparison()} ({scalar})"
            case 3:
                other = self.expressions.column(scope)
                found = self.select((), depth - 1, [left.kind, other.kind])
                return f"({left.sql}, {other.sql}) {negation}IN ({found.sql})"
            case _:
                quantifier = self.dice.pick(["ANY", "ANY", "ALL"])
                found = self.select(inner, depth - 1, [left.kind])
                return f"{left.sql} {self.expressions.comparison()} {quantifier} ({found.sql})"

    def _scalar(self, outer: Sequence[Column], depth: int, kind: str) -> str:
        """A query of one column that has one row at most, but for a few."""
        source, scope = self._from(outer, depth)
        where = f" WHERE {self._where(scope, depth)}" if self.dice.chance(80) else ""
        value = self.expressions.value(kind, scope)
        if self.dice.chance(30):
            text = f"SELECT {value} AS c0 FROM {source}{where} ORDER BY 1"
            return text if self.dice.chance(5) else f"{text} LIMIT 1"
        return f"SELECT {self.dice.pick(['max', 'min'])}({value}) AS c0 FROM {source}{where}"

    # -- FROM ----------------------------------------------------------------------------------

    def _from(self, outer: Sequence[Column], depth: int) -> tuple[str, Scope]:
        keys: list[Column] = []
        if self.dice.chance(20):
            text, columns, keys = self._rekeyed()
        else:
            text, columns = self._relation(outer, depth)
        for _ in range(self.dice.weighted([(4, 0), (5, 1), (2, 2)])):
            text, columns = self._joined(text, columns, keys, outer, depth)
        return text, Scope(columns, outer, keys)

    def _joined(
        self, text: str, columns: list[Column], keys: list[Column], outer: Sequence[Column],
        depth: int,
    ) -> tuple[str, list[Column]]:  # fmt: skip
        if depth > 0 and self.dice.chance(8):
            found = self.select([*columns, *outer], depth - 1)
            alias = self._alias("x")
            join = self.dice.pick(["JOIN", "LEFT JOIN"])
            return (
                f"{text} {join} LATERAL ({found.sql}) AS {alias} ON true",
                columns + found.columns(alias),
            )
        other, more = self._relation(outer, depth)
        join = self.dice.weighted(
            [(8, "JOIN"), (8, "LEFT JOIN"), (3, "RIGHT JOIN"), (4, "FULL JOIN"), (1, "SEMI JOIN"),
             (1, "ANTI JOIN")]
        )  # fmt: skip
        again = keys if keys and self.dice.chance(60) else columns
        joined: list[Column] = []
        tests = self._equalities(again, more, 1 + self.dice.weighted([(3, 0), (1, 1)]), joined)
        if not tests or self.dice.chance(15):
            pair = Scope([*columns, *more])
            tests.append(f"({self.expressions.condition(pair)})")
        elif self.dice.chance(5):
            tests = [tests[0].replace(" = ", f" {self.dice.pick(['<', '>='])} ", 1)]
        on = " AND ".join(tests)
        kept = columns if join in ("SEMI JOIN", "ANTI JOIN") else columns + more
        keys += [key for key in joined if key in kept]
        return f"{text} {join} {other} ON {on}", kept

    def _equalities(
        self,
        left: Sequence[Column],
        right: Sequence[Column],
        count: int,
        joined: list[Column] | None = None,
    ) -> list[str]:
        pairs = [(a, b) for a in left for b in right if comparable(a.kind, b.kind)]
        if self.dice.chance(80):
            pairs = [(a, b) for a, b in pairs if a.kind == b.kind] or pairs
        if not pairs:
            return []
        texts = []
        for _ in range(count):
            a, b = self.dice.pick(pairs)
            operator = self.dice.pick(["=", "=", "=", "=", "IS NOT DISTINCT FROM"])
            one = a.sql
            if self.dice.chance(8):
                one = self.expressions.value(a.kind, Scope([a]))
            texts.append(f"{one} {operator} {b.sql}")
            if joined is not None:
                joined += [a, b]
        return texts

    def _by_key(self) -> Query:
        """A verb by a join's key, or by what was made of it, and by nothing else."""
        source, (key, other) = self._key_of_join()
        by = f"OVER (PARTITION BY {key.sql})"
        verbs: list[tuple[str, list[str], str, tuple[str, ...]]] = [
            ("SELECT", [key.sql, "count(*)"], " GROUP BY 1", (key.kind, "i")),
            ("SELECT DISTINCT", [key.sql], "", (key.kind,)),
            ("SELECT", [key.sql, f"count(*) {by}", f"min({other.sql}) {by}"], "",
             (key.kind, "i", other.kind)),
        ]  # fmt: skip
        head, values, tail, kinds = self.dice.pick(verbs)
        return Query(f"{head} {_named(values)} FROM {source}{tail}", kinds)

    def _rekeyed(self) -> tuple[str, list[Column], list[Column]]:
        """A join by one key, joined again by that key, or by what was made of it."""
        source, columns = self._key_of_join()
        last, more = self._table(self._tables)
        join = self.dice.pick(["JOIN", "LEFT JOIN", "FULL JOIN", "RIGHT JOIN"])
        text = f"{source} {join} {last} ON {columns[0].sql} = {more[0].sql}"
        return text, [*columns, *more], [columns[0], more[0]]

    def _key_of_join(self) -> tuple[str, list[Column]]:
        """Two tables joined by their first columns: a key, or what was made of it, and some column."""
        (left, ours), (right, theirs) = self._table(self._tables), self._table(self._tables)
        key, other = self.dice.pick([ours[0], theirs[0]]).sql, self.dice.pick(theirs)
        alias = self._alias("d")
        made = self.dice.pick([key, f"{key} + 1", f"-{key}", f"{key} % 2", f"coalesce({key}, 1)"])
        join = self.dice.pick(["JOIN", "LEFT JOIN", "FULL JOIN", "RIGHT JOIN"])
        text = (
            f"(SELECT {made} AS c0, {other.sql} AS c1 FROM {left} {join} {right} "
            f"ON {ours[0].sql} = {theirs[0].sql}) AS {alias}"
        )
        return text, [Column(f"{alias}.c0", "i"), Column(f"{alias}.c1", other.kind)]

    def _table(self, tables: Sequence[_Named]) -> tuple[str, list[Column]]:
        name, columns = self.dice.pick(tables)
        alias = self._alias(name[0])
        return f"{name} AS {alias}", [Column(f"{alias}.{one.sql}", one.kind) for one in columns]

    def _relation(self, outer: Sequence[Column], depth: int) -> tuple[str, list[Column]]:
        if depth > 0 and self.dice.chance(30):
            found = self.select((), depth - 1)
            alias = self._alias("d")
            return f"({found.sql}) AS {alias}", found.columns(alias)
        return self._table(self._ctes if self._ctes and self.dice.chance(60) else self._tables)


def _named(values: Sequence[str]) -> str:
    return ", ".join(f"{value} AS c{index}" for index, value in enumerate(values))


def _query(values: Sequence[Column], body: str) -> Query:
    kinds = tuple(value.kind for value in values)
    return Query(f"SELECT {_named([value.sql for value in values])} {body}", kinds)
