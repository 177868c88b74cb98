"""Verbs over several relations: joins, set operations, and whole queries for one kernel."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

from sqlglot import exp

from flowgrid.errors import PlanError
from flowgrid.expr.tree import Expr, quote, to_sql
from flowgrid.logical.nodes.node import NO_COLUMNS, Node, unique_names
from flowgrid.protocol.fragment import Field


class JoinKind(StrEnum):
    INNER = "inner"
    LEFT = "left"
    RIGHT = "right"
    FULL = "full"
    SEMI = "semi"
    ANTI = "anti"
    CROSS = "cross"

    @property
    def keeps_right_columns(self) -> bool:
        return self not in (JoinKind.SEMI, JoinKind.ANTI)


@dataclass(frozen=True, eq=False)
class Join(Node):
    """Pairs of rows for which `condition` is true; None is allowed for a cross join only."""

    left: Node
    right: Node
    kind: JoinKind
    condition: Expr | None = None

    def __post_init__(self) -> None:
        if (self.condition is None) != (self.kind is JoinKind.CROSS):
            raise PlanError(f"a {self.kind} join needs a condition, and a cross join has none")
        unique_names(self.left.columns + self.right.columns, "the join")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        kept = self.right.columns if self.kind.keeps_right_columns else ()
        return self.left.columns + kept

    def query(self, names: Sequence[str]) -> str:
        on = f" ON {to_sql(self.condition)}" if self.condition is not None else ""
        wide = self.left.columns and self.right.columns
        # By name where a side has no columns: its relation has one (`NO_COLUMNS`), the join has not.
        selected = "*" if wide else ", ".join(map(quote, self.columns)) or NO_COLUMNS
        return f"SELECT {selected} FROM {names[0]} {self.kind.upper()} JOIN {names[1]}{on}"

    def describe(self) -> str:
        on = f" on {to_sql(self.condition)}" if self.condition is not None else ""
        return f"Join {self.kind}{on}"


@dataclass(frozen=True, eq=False)
class AsofJoin(Node):
    """Each left row with one right row: of those that `condition` is true for, the nearest.

    The condition is equalities and one inequality, which says what is near. `keeps_left` is for a
    left row without a right one.
    """

    left: Node
    right: Node
    condition: Expr
    keeps_left: bool = False

    def __post_init__(self) -> None:
        unique_names(self.columns, "the join")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return self.left.columns + self.right.columns

    def query(self, names: Sequence[str]) -> str:
        kind = "ASOF LEFT JOIN" if self.keeps_left else "ASOF JOIN"
        return f"SELECT * FROM {names[0]} {kind} {names[1]} ON {to_sql(self.condition)}"

    def describe(self) -> str:
        return f"AsofJoin {'left ' if self.keeps_left else ''}on {to_sql(self.condition)}"


@dataclass(frozen=True, eq=False)
class Union(Node):
    """All rows of all inputs, columns matched by position and named as the first input's."""

    relations: tuple[Node, ...]

    def __post_init__(self) -> None:
        widths = {len(relation.columns) for relation in self.relations}
        if len(widths) != 1:
            raise PlanError(
                f"a union needs relations of one width; these have {sorted(widths)} columns"
            )

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return self.relations[0].columns

    def query(self, names: Sequence[str]) -> str:
        selected = (
            ", ".join(map(quote, relation.columns)) or NO_COLUMNS for relation in self.relations
        )
        return " UNION ALL ".join(
            f"SELECT {columns} FROM {name}" for columns, name in zip(selected, names, strict=True)
        )


@dataclass(frozen=True, eq=False)
class SetOperation(Node):
    """INTERSECT or EXCEPT (`operator`), with `all` as multisets."""

    left: Node
    right: Node
    operator: str
    all: bool = False

    def __post_init__(self) -> None:
        if len(self.left.columns) != len(self.right.columns):
            raise PlanError(
                f"{self.operator} needs relations of one width; these have "
                f"{len(self.left.columns)} and {len(self.right.columns)} columns"
            )

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return self.left.columns

    def query(self, names: Sequence[str]) -> str:
        operator = self.operator.upper() + (" ALL" if self.all else "")
        return f"SELECT * FROM {names[0]} {operator} SELECT * FROM {names[1]}"

    def describe(self) -> str:
        return f"SetOperation {self.operator}{' all' if self.all else ''}"


@dataclass(frozen=True, eq=False)
class KernelQuery(Node):
    """SQL as the user wrote it, over whole relations: it runs as one task.

    `tree` reads input i as the table named ``#i``. For plans with more than one partition there is
    `bound`, the same query as partitioned nodes; or else `reason` says why there is none, and the
    inputs are gathered. `meaning` is the one or the other, or finds out which when it is asked for;
    `described` are its columns, likewise.
    """

    relations: tuple[Node, ...]
    tree: Expr
    described: tuple[Field, ...] | Callable[[], tuple[Field, ...]]
    meaning: Node | str | Callable[[], Node | str] = ""

    @cached_property
    def fields(self) -> tuple[Field, ...]:
        return self.described() if callable(self.described) else self.described

    @property
    def bound(self) -> Node | None:
        known = self._known()
        return known if isinstance(known, Node) else None

    @property
    def reason(self) -> str:
        known = self._known()
        return known if isinstance(known, str) else ""

    def _known(self) -> Node | str:
        if not callable(self.meaning):
            return self.meaning
        if "found" not in vars(self):
            vars(self).setdefault("found", self.meaning())  # of two threads, both see the first's
        found: Node | str = vars(self)["found"]
        return found

    @cached_property
    def inputs(self) -> tuple[Node, ...]:
        return self.relations

    def with_inputs(self, inputs: Sequence[Node]) -> Node:
        if all(new is old for new, old in zip(inputs, self.relations, strict=True)):
            return self
        # What it is bound to reads the relations of before.
        return dataclasses.replace(self, relations=tuple(inputs), meaning=self.reason)

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    def query(self, names: Sequence[str]) -> str:
        tree = self.tree.copy()
        for table in tree.find_all(exp.Table):
            if table.name.startswith("#"):
                table.set(
                    "this", exp.to_identifier(names[int(table.name[1:])].strip('"'), quoted=True)
                )
        return tree.sql(dialect="duckdb", comments=False)

    def describe(self) -> str:
        return "KernelQuery" + (f" (one task: {self.reason})" if self.reason else "")
