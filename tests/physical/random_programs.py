"""Random programs in the words of the DataFrame API, over tables with all that goes wrong with keys.

A column's first letter is its kind (int, text, double, decimal), so a frame's columns say what may be
done with them. Every program has one answer as a multiset: whatever picks rows orders them by all
columns first.
"""

from __future__ import annotations

import decimal
import itertools
import random
from collections.abc import Callable
from typing import TypeAlias, TypeVar

import pyarrow as pa

import flowgrid as fg
from flowgrid.api.dataframe import DataFrame, How
from flowgrid.api.session import Session
from flowgrid.logical.nodes import Join, Node, SetOperation
from flowgrid.logical.rendering import topological

T = TypeVar("T")

Verb: TypeAlias = Callable[[DataFrame], DataFrame]

ROWS = [0, 1, 5, 9, 12, 12]
"""Of a table."""

JOINS_MAX = 4
"""Above this many joins, and unions of relations with joins, rows are too many for a quick test."""

_VALUES: dict[str, tuple[pa.DataType, list[object]]] = {
    "i": (pa.int32(), [None, 0, 1, 1, 2, 3, -1]),
    "t": (pa.string(), [None, "", "a", "b", "ab"]),
    "x": (pa.float64(), [None, 0.0, -0.0, 1.0, 2.0, 0.5, float("nan")]),
    "d": (pa.decimal128(9, 2), [None, *map(decimal.Decimal, ("0.00", "1.00", "2.00", "1.50"))]),
}

_LITERALS = {"i": ["0", "1", "2"], "t": ["''", "'a'"], "x": ["0.5::DOUBLE", "1"], "d": ["1.5", "2"]}

_NUMBERS = "ixd"

_HOWS: list[How] = ["inner", "left", "right", "full", "semi", "anti"]


def kind(name: str) -> str:
    return name[0]


def joins_in(frame: DataFrame) -> int:
    """How often rows are paired with rows below a frame, counting shared plans every time."""
    counts: dict[Node, int] = {}
    for node in topological(frame.node):
        counts[node] = isinstance(node, Join) + sum(counts[child] for child in node.inputs)
    return counts[frame.node]


class Programs:
    """Draws one program after another from `dice`, later ones from the frames of earlier ones too."""

    def __init__(self, dice: random.Random, session: Session) -> None:
        self._dice = dice
        self._session = session
        self._numbers = itertools.count()
        self._frames: list[DataFrame] = []

    def program(self, verbs: int) -> DataFrame:
        frame = self._relation()
        for _ in range(verbs):
            frame = self._pick(self._verbs(frame))(frame)
            self._frames.append(frame)
        return frame

    # -- drawing -------------------------------------------------------------------------------

    def _pick(self, values: list[T]) -> T:
        return self._dice.choice(values)

    def _some(self, values: list[T], least: int, most: int) -> list[T]:
        return self._dice.choices(values, k=self._dice.randint(least, most))

    def _maybe(self) -> bool:
        return self._dice.random() < 0.5

    def _fresh(self, letter: str) -> str:
        return f"{letter}{next(self._numbers)}"

    # -- relations -----------------------------------------------------------------------------

    def _relation(self) -> DataFrame:
        """A new table, or a frame that there is already, so that subplans are shared."""
        known = [frame for frame in self._frames if joins_in(frame) <= 1]
        if known and self._maybe():
            return self._pick(known)
        count = self._pick(ROWS)
        columns = {}
        for letter in self._some(list(_VALUES), 1, 3):
            type_, values = _VALUES[letter]
            drawn = self._dice.choices(values, k=count)
            columns[self._fresh(letter)] = pa.array(drawn, type_)
        self._frames.append(self._session.from_arrow(pa.table(columns)))
        return self._frames[-1]

    def _other(self) -> DataFrame:
        """A relation to join with, under names that nobody else has."""
        frame = self._relation()
        return frame.rename({name: self._fresh(kind(name)) for name in frame.columns})

    def _alike(self, frame: DataFrame) -> DataFrame:
        """A relation with columns of the same names and kinds as `frame`, NULL where it has none."""
        other = self._relation()
        items = []
        for name in frame.columns:
            fitting = [mine for mine in other.columns if kind(mine) == kind(name)]
            value = f'"{self._pick(fitting)}"' if fitting else "NULL::INTEGER"
            items.append(f'{value} AS "{name}"' if fitting else self._null(name))
        return other.select(*items)

    @staticmethod
    def _null(name: str) -> str:
        types = {"i": "INTEGER", "t": "VARCHAR", "x": "DOUBLE", "d": "DECIMAL(9,2)"}
        return f'NULL::{types[kind(name)]} AS "{name}"'

    # -- expressions ---------------------------------------------------------------------------

    def _predicate(self, columns: list[str]) -> str:
        name = self._pick(columns)
        value = self._pick(_LITERALS[kind(name)])
        alike = self._pick([other for other in columns if kind(other) == kind(name)])
        simple = self._pick(
            [
                f"{name} = {value}", f"{name} > {value}", f"{name} <> {alike}",
                f"{name} IS NULL", f"{name} IN ({value}, NULL)", f"NOT ({name} <= {value})",
                f"{name} IS NOT DISTINCT FROM {alike}", f"coalesce({name}, {value}) = {value}",
            ]
        )  # fmt: skip
        if not self._maybe():
            return simple
        return f"({simple}) {self._pick(['AND', 'OR'])} ({self._predicate(columns)})"

    def _computed(self, columns: list[str]) -> str:
        name = self._pick(columns)
        value = self._pick(_LITERALS[kind(name)])
        more = [f"{name} || 'z'"] if kind(name) == "t" else [f"{name} + 1", f"-{name}"]
        condition = f"CASE WHEN {self._predicate(columns)} THEN {name} END"
        text = self._pick([name, f"coalesce({name}, {value})", condition, *more])
        return f"{text} AS {self._fresh(kind(name))}"

    def _aggregate(self, columns: list[str]) -> str:
        name = self._pick(columns)
        numbers = [one for one in columns if kind(one) in _NUMBERS]
        found = [
            ("count(*)", "i"), (f"count({name})", "i"), (f"count(DISTINCT {name})", "i"),
            (f"min({name})", kind(name)), (f"max({name})", kind(name)),
            (f"count(*) FILTER (WHERE {self._predicate(columns)})", "i"),
            (f"bool_or({name} IS NULL)::INTEGER", "i"),
            (f"len(list({name} ORDER BY {name}))", "i"),
            (f"approx_count_distinct({name})", "i"),
        ]  # fmt: skip
        for one in numbers[:2]:
            # The sum of decimals has 38 digits, and no further sum has room for more.
            letter = "x" if kind(one) == "x" else "i"
            found += [
                (f"CAST(sum({one}) AS {'DOUBLE' if letter == 'x' else 'BIGINT'})", letter),
                (f"avg({one})", "x"),
                (f"sum(DISTINCT {one})::DOUBLE", "x"),
                (f"max({one}) - min({one})", kind(one)),
            ]
        text, letter = self._pick(found)
        return f"{text} AS {self._fresh(letter)}"

    # -- verbs ---------------------------------------------------------------------------------

    def _verbs(self, frame: DataFrame) -> list[Verb]:
        always: list[Verb] = [
            self._filter, self._select, self._extend, self._join, self._join_on, self._group,
            self._group, self._window, self._union, self._distinct, self._top, self._set_operation,
            self._repartition, self._explode,
        ]  # fmt: skip
        large = joins_in(frame) >= JOINS_MAX or len(frame.columns) > 12
        return [self._group, self._select, self._distinct] if large else always

    def _filter(self, frame: DataFrame) -> DataFrame:
        return frame.filter(self._predicate(frame.columns))

    def _select(self, frame: DataFrame) -> DataFrame:
        return frame.select(*(self._computed(frame.columns) for _ in range(2)))

    def _extend(self, frame: DataFrame) -> DataFrame:
        return frame.with_columns(self._computed(frame.columns))

    def _pairs(self, left: DataFrame, right: DataFrame) -> list[tuple[str, str]]:
        """Columns that may be compared: of one kind, or both numbers."""
        return [
            (one, other)
            for one in left.columns
            for other in right.columns
            if kind(one) == kind(other) or (kind(one) in _NUMBERS and kind(other) in _NUMBERS)
        ]

    def _join(self, frame: DataFrame) -> DataFrame:
        other = self._other()
        pairs = self._pairs(frame, other)
        if not pairs:
            return frame.join(other.limit(1), how="cross")
        # Where a key is merged into one column it has the type of both: the one with more digits.
        chosen = dict(self._some(pairs, 1, 2))
        return frame.join(
            other, left_on=[*chosen], right_on=[*chosen.values()], how=self._pick(_HOWS),
            coalesce=False,
        )  # fmt: skip

    def _join_on(self, frame: DataFrame) -> DataFrame:
        other = self._other()
        parts = [
            f"{one} {self._pick(['=', '=', 'IS NOT DISTINCT FROM', '<'])} {two}"
            for one, two in self._some(self._pairs(frame, other) or [("1", "1")], 1, 2)
        ]
        if self._maybe():
            parts.append(self._predicate(frame.columns + other.columns))
        on = " AND ".join(f"({part})" for part in parts)
        return frame.join(other, on=on, how=self._pick(_HOWS))

    def _group(self, frame: DataFrame) -> DataFrame:
        keys = dict.fromkeys(self._some(frame.columns, 0, 2))
        aggregates = [self._aggregate(frame.columns) for _ in range(self._pick([1, 2, 3]))]
        return frame.group_by(*keys).agg(*aggregates)

    def _window(self, frame: DataFrame) -> DataFrame:
        everything = ", ".join(frame.columns)
        name = self._pick(frame.columns)
        by = self._pick(["", f"PARTITION BY {name}"])
        numbers = [one for one in frame.columns if kind(one) in "id"] or ["1"]
        texts = [
            f"row_number() OVER ({by} ORDER BY {everything}) AS {self._fresh('i')}",
            f"sum({self._pick(numbers)}) OVER ({by})::DOUBLE AS {self._fresh('x')}",
            f"lag({name}) OVER ({by} ORDER BY {everything}) AS {self._fresh(kind(name))}",
            f"count(*) OVER (PARTITION BY {self._pick(frame.columns)}) AS {self._fresh('i')}",
        ]
        return frame.with_columns(*dict.fromkeys(self._some(texts, 1, 2)))

    def _union(self, frame: DataFrame) -> DataFrame:
        return fg.concat([frame, *(self._alike(frame) for _ in range(self._pick([1, 2])))])

    def _distinct(self, frame: DataFrame) -> DataFrame:
        return frame.unique()

    def _top(self, frame: DataFrame) -> DataFrame:
        descending = [self._maybe() for _ in frame.columns]
        ordered = frame.sort(*frame.columns, descending=descending, nulls_last=self._maybe())
        return ordered.slice(self._pick([0, 0, 2]), self._pick([0, 1, 5, None]))

    def _set_operation(self, frame: DataFrame) -> DataFrame:
        operator = self._pick(["intersect", "except"])
        node = SetOperation(frame.node, self._alike(frame).node, operator, self._maybe())
        return DataFrame(node, frame.engine)

    def _repartition(self, frame: DataFrame) -> DataFrame:
        return frame.repartition(self._pick([2, 3]), *self._some(frame.columns, 0, 1))

    def _explode(self, frame: DataFrame) -> DataFrame:
        numbers = [name for name in frame.columns if kind(name) == "i"] or ["1"]
        one, fresh = self._pick(numbers), self._fresh("i")
        listed = f"CASE WHEN {one} > 0 THEN [{one}, NULL] WHEN {one} = 0 THEN [] END AS {fresh}"
        return frame.with_columns(listed).explode(fresh)
