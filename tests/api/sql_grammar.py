"""Random queries with subqueries everywhere, over three small tables with NULLs and duplicates."""

from __future__ import annotations

import random
from collections.abc import Sequence

TABLES = {"t": ("a", "b", "c"), "u": ("k", "v", "w"), "e": ("x", "y")}
"""All columns are integers, so that whatever is compared can be; `e` has no rows."""

DEFINITIONS = """
CREATE TABLE t (a INTEGER, b INTEGER, c INTEGER);
INSERT INTO t VALUES (1, 10, 1), (1, 20, 2), (2, 10, NULL), (2, NULL, 1), (3, 30, 3), (NULL, 40, 1),
    (NULL, NULL, NULL), (3, 30, 3), (4, 5, 0);
CREATE TABLE u (k INTEGER, v INTEGER, w INTEGER);
INSERT INTO u VALUES (1, 10, 1), (1, 30, 2), (2, NULL, 1), (2, 10, NULL), (NULL, 10, 1), (5, 50, 4),
    (1, 10, 1), (NULL, NULL, NULL);
CREATE TABLE e (x INTEGER, y INTEGER);
"""


class Grammar:
    """Draws queries whose rows are the same on every run, whoever runs them."""

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(seed)
        self._aliases = 0

    def query(self, depth: int = 3) -> str:
        return self._select((), depth, self._dice.randint(1, 3))

    def _chance(self, probability: float) -> bool:
        return self._dice.random() < probability

    def _alias(self, name: str) -> str:
        self._aliases += 1
        return f"{name}{self._aliases}"

    def _select(self, outer: Sequence[str], depth: int, width: int) -> str:
        """A query of `width` columns; `outer` are the columns of the queries around it."""
        if depth > 0 and self._chance(0.1):
            left, right = (self._select(outer, depth - 1, width) for _ in range(2))
            operator = self._dice.choice(
                ["UNION", "UNION ALL", "INTERSECT", "EXCEPT", "EXCEPT ALL"]
            )
            return f"({left}) {operator} ({right})"
        source, columns = self._from(outer, depth)
        seen = [*columns, *outer]
        where = f" WHERE {self._predicate(columns, outer, depth)}" if self._chance(0.8) else ""
        kind = self._dice.random()
        if kind < 0.25:
            return f"SELECT {self._aggregates(seen, columns, width)} FROM {source}{where}"
        if kind < 0.45:
            return self._grouped(source, where, columns, outer, depth, width)
        values = [self._value(columns, outer, depth) for _ in range(width)]
        if kind < 0.52:
            part, order = self._dice.choice(columns), ", ".join(columns)
            values[0] = f"sum({values[0]}) OVER (PARTITION BY {part})"
            return f"SELECT {', '.join(values)} FROM {source}{where}"
        selected = ", ".join(f"{value} AS c{index}" for index, value in enumerate(values))
        if kind < 0.65:
            return f"SELECT DISTINCT {selected} FROM {source}{where}"
        if kind < 0.78:  # all columns are keys, so that rows that tie are the same rows
            order = ", ".join(str(index + 1) for index in range(width))
            offset = " OFFSET 1" if self._chance(0.3) else ""
            limit = self._dice.randint(1, 3)
            return f"SELECT {selected} FROM {source}{where} ORDER BY {order} LIMIT {limit}{offset}"
        return f"SELECT {selected} FROM {source}{where}"

    def _from(self, outer: Sequence[str], depth: int) -> tuple[str, list[str]]:
        text, columns = self._table()
        kind = self._dice.random()
        if kind < 0.3:
            other, more = self._table()
            join = self._dice.choice(["JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN"])
            on = f"{self._dice.choice(columns)} = {self._dice.choice(more)}"
            return f"{text} {join} {other} ON {on}", columns + more
        if kind < 0.45 and depth > 0:
            alias = self._alias("d")
            lateral = self._chance(0.6)
            inner = self._select([*columns, *outer] if lateral else outer, depth - 1, 2)
            join = self._dice.choice(["CROSS JOIN LATERAL", "LEFT JOIN LATERAL"])
            on = " ON TRUE" if join.startswith("LEFT") else ""
            return f"{text} {join} ({inner}) AS {alias}(p, q){on}", [
                *columns, f"{alias}.p", f"{alias}.q",
            ]  # fmt: skip
        return text, columns

    def _table(self) -> tuple[str, list[str]]:
        name = self._dice.choices(list(TABLES), (5, 5, 1))[0]
        alias = self._alias(name)
        return f"{name} AS {alias}", [f"{alias}.{column}" for column in TABLES[name]]

    def _aggregates(self, seen: Sequence[str], columns: Sequence[str], width: int) -> str:
        return ", ".join(self._aggregate(seen, columns) for _ in range(width))

    def _aggregate(self, seen: Sequence[str], columns: Sequence[str]) -> str:
        column = self._dice.choice(columns)
        if self._chance(0.2):
            column = f"{column} + {self._dice.choice(seen)}"
        return self._dice.choice(
            ["count(*)", f"count({column})", f"sum({column})", f"min({column})", f"max({column})",
             f"coalesce(sum({column}), -1)", f"count(DISTINCT {column})"]
        )  # fmt: skip

    def _grouped(
        self,
        source: str,
        where: str,
        columns: list[str],
        outer: Sequence[str],
        depth: int,
        width: int,
    ) -> str:
        key = self._dice.choice(columns)
        values = [key, *(self._aggregate(columns, columns) for _ in range(width - 1))]
        having = ""
        if self._chance(0.4):
            other = self._dice.choice([str(self._dice.randint(0, 30)), *outer])
            if depth > 0 and self._chance(0.5):
                other = f"({self._scalar([key, *outer], depth - 1)})"
            having = f" HAVING {self._aggregate(columns, columns)} {self._comparison()} {other}"
        return f"SELECT {', '.join(values)} FROM {source}{where} GROUP BY {key}{having}"

    def _comparison(self) -> str:
        return self._dice.choice(["=", "=", "=", "<>", "<", "<=", ">", ">="])

    def _value(self, columns: Sequence[str], outer: Sequence[str], depth: int) -> str:
        seen = [*columns, *outer]
        kind = self._dice.random()
        if kind < 0.6 or depth <= 0:
            return self._dice.choice(columns if self._chance(0.8) else seen)
        if kind < 0.8:
            return f"({self._scalar(seen, depth - 1)})"
        if kind < 0.9:
            return f"CAST({self._test(columns, outer, depth)} AS INTEGER)"
        return f"CASE WHEN {self._test(columns, outer, depth)} THEN {self._dice.choice(seen)} END"

    def _scalar(self, outer: Sequence[str], depth: int) -> str:
        """A query of one column that has one row at most."""
        source, columns = self._from(outer, depth)
        where = f" WHERE {self._predicate(columns, outer, depth)}" if self._chance(0.9) else ""
        if self._chance(0.7):
            return f"SELECT {self._aggregate([*columns, *outer], columns)} FROM {source}{where}"
        value = self._dice.choice(columns)
        order = self._dice.choice(["", " DESC", " NULLS FIRST"])
        return f"SELECT {value} FROM {source}{where} ORDER BY {value}{order} LIMIT 1"

    def _predicate(self, columns: Sequence[str], outer: Sequence[str], depth: int) -> str:
        tests = [self._test(columns, outer, depth)]
        if outer and self._chance(0.7):  # what makes it correlated
            tests.append(f"{self._dice.choice(columns)} = {self._dice.choice(outer)}")
        while self._chance(0.3):
            tests.append(self._test(columns, outer, depth - 1))
        joined = tests[0]
        for test in tests[1:]:
            joined = f"{joined} {self._dice.choice(['AND', 'AND', 'AND', 'OR'])} {test}"
        return joined

    def _test(self, columns: Sequence[str], outer: Sequence[str], depth: int) -> str:
        seen = [*columns, *outer]
        left = self._dice.choice(columns)
        negation = self._dice.choice(["", "NOT "])
        if depth <= 0 or self._chance(0.4):
            other = self._dice.choice([*seen, str(self._dice.randint(0, 30))])
            return self._dice.choice(
                [f"{left} {self._comparison()} {other}", f"{left} IS {negation}NULL",
                 f"{left} IS NOT DISTINCT FROM {other}"]
            )  # fmt: skip
        kind = self._dice.randrange(5)
        if kind == 0:
            return f"{negation}EXISTS ({self._select(seen, depth - 1, 1)})"
        if kind == 1:
            return f"{left} {negation}IN ({self._select(seen, depth - 1, 1)})"
        if kind == 2:  # the kernel itself refuses rows compared with a correlated query
            pair = f"({left}, {self._dice.choice(columns)})"
            return f"{pair} {negation}IN ({self._select((), depth - 1, 2)})"
        if kind == 3:
            quantifier = self._dice.choice(["ANY", "ALL"])
            inner = self._select(seen, depth - 1, 1)
            return f"{left} {self._comparison()} {quantifier} ({inner})"
        return f"{left} {self._comparison()} ({self._scalar(seen, depth - 1)})"
