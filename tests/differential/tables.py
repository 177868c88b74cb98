"""Tables: some columns, some rows, and a way in which FlowGrid gets them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from tests.differential.dice import Dice
from tests.differential.kinds import STORED, TYPES, VALUES

Source: TypeAlias = Literal["given", "parquet", "hashed", "round robin"]
"""A driver's table cut into partitions; files with row groups of two rows, one of the files empty; a
table that is repartitioned by its first column, or anyhow, before the query reads it."""


@dataclass(frozen=True)
class Table:
    """`rows` are SQL values in the order of `columns`, which are (name, kind)."""

    name: str
    columns: tuple[tuple[str, str], ...]
    rows: tuple[tuple[str, ...], ...]
    source: Source = "given"

    def ddl(self) -> str:
        columns = ", ".join(f"{name} {TYPES[kind]}" for name, kind in self.columns)
        created = f"CREATE TABLE {self.name} ({columns});"
        if not self.rows:
            return created
        rows = ", ".join(f"({', '.join(row)})" for row in self.rows)
        return f"{created} INSERT INTO {self.name} VALUES {rows};"


_NAMES = ("t", "u", "v")

_KINDS = [(6, "i"), (2, "t"), (2, "d"), (2, "x"), *((1, kind) for kind in STORED[4:])]


def draw_tables(dice: Dice) -> tuple[Table, ...]:
    """Two or three tables. Each begins with an integer column, so that all of them can be joined."""
    count = 2 + dice.below(2)
    return tuple(_draw_table(dice, name) for name in _NAMES[:count])


def _draw_table(dice: Dice, name: str) -> Table:
    kinds = ["i", *(dice.weighted(_KINDS) for _ in range(1 + dice.below(3)))]
    columns = tuple((f"{name}{index}{kind}", kind) for index, kind in enumerate(kinds))
    count = dice.pick([3, 1, 0, 5, 7, 9, 9, 12, 12, 12])
    # Few values make duplicates; one that is drawn most of the time makes skew.
    values = {name: _domain(dice, kind) for name, kind in columns}
    rows = tuple(tuple(dice.pick(values[name]) for name, _ in columns) for _ in range(count))
    return Table(name, columns, rows, dice.pick(get_args(Source)))


def _domain(dice: Dice, kind: str) -> list[str]:
    values = VALUES[kind]
    match dice.below(4):
        case 0:
            return values[:4]
        case 1:
            return values
        case 2:
            return [value for value in values[:5] if value != "NULL"]
        case _:
            return [*values, *[dice.pick(values)] * 12]
