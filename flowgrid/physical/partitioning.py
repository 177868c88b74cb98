"""How the rows of a relation are spread over tasks, and what survives which verb."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TypeAlias

import msgspec
from sqlglot import exp

from flowgrid.expr.tree import Expr, cast, column, to_sql
from flowgrid.logical.nodes import Project


class Single(msgspec.Struct, frozen=True):
    """All rows are in one task."""


class Spread(msgspec.Struct, frozen=True):
    """Rows are in several tasks, in no order that anybody may rely on but their own."""


class Ranged(msgspec.Struct, frozen=True):
    """Rows are in order from target to target, so that neighbouring targets may be read as one."""


class Hashed(msgspec.Struct, frozen=True):
    """Rows with equal keys are in one task: the one that their hash modulo `targets` names.

    `keys` are alternatives: after a join on ``a = b`` rows are hashed by a and by b alike. Each is a
    tuple of `key_text`. `types` are the types in which the keys were hashed.
    """

    keys: frozenset[tuple[str, ...]]
    types: tuple[str, ...]
    targets: int

    def groups_by(self, columns: Iterable[str]) -> bool:
        """Whether rows that agree on all `columns` are in one task."""
        there = {key_text(column(name)) for name in columns}
        return any(set(alternative) <= there for alternative in self.keys)


Partitioning: TypeAlias = Single | Spread | Ranged | Hashed


def key_text(expression: Expr) -> str:
    """How partitionings name a key: its SQL, without regard to case."""
    return to_sql(expression).casefold()


def through_project(partitioning: Partitioning, project: Project) -> Partitioning:
    """What is left of a partitioning when columns are renamed, computed or dropped."""
    if not isinstance(partitioning, Hashed):
        return partitioning
    renamed: dict[str, list[str]] = {}
    for named in project.expressions:
        text = key_text(named.expression)
        renamed.setdefault(text, []).append(key_text(column(named.name)))
    keys = frozenset(
        tuple(renamed[key][0] for key in alternative)
        for alternative in partitioning.keys
        if all(key in renamed for key in alternative)
    )
    return Hashed(keys, partitioning.types, partitioning.targets) if keys else Spread()


_INTEGERS = frozenset(
    ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT",
     "UTINYINT", "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT")
)  # fmt: skip
_FLOATS = frozenset(("FLOAT", "DOUBLE"))
_DECIMAL = re.compile(r"DECIMAL\((\d+),(\d+)\)")


def hash_type(left: str, right: str) -> str | None:
    """The type in which equal values of two types have equal hashes; None if there is none.

    The kernel's hashes of integers do not depend on their width, so they need no cast: the answer for
    them is "BIGINT". Text against numbers has none: '01' equals 1, and their hashes cannot.
    """
    if left in _INTEGERS and right in _INTEGERS:
        return "BIGINT"
    if left == right:
        return left
    sides = (left, right)
    if all(side in _INTEGERS or _DECIMAL.fullmatch(side) for side in sides):
        scales = [int(match[2]) for side in sides if (match := _DECIMAL.fullmatch(side))]
        return f"DECIMAL(38,{max(scales)})"
    if all(side in _INTEGERS | _FLOATS or _DECIMAL.fullmatch(side) for side in sides):
        return "DOUBLE"
    if set(sides) == {"DATE", "TIMESTAMP"}:
        return "TIMESTAMP"
    return None


def hash_expression(keys: Sequence[Expr], types: Sequence[str], wanted: Sequence[str]) -> Expr:
    """hash(keys…), each in its wanted type."""
    arguments = [
        key.copy() if have == want or (want == "BIGINT" and have in _INTEGERS) else _try(key, want)
        for key, have, want in zip(keys, types, wanted, strict=True)
    ]
    return exp.Anonymous(this="hash", expressions=arguments)


def _try(key: Expr, type_: str) -> Expr:
    """The key in that type, NULL where it does not fit: what equals it does not fit either."""
    return exp.TryCast(this=key.copy(), to=cast(key.copy(), type_).args["to"])
