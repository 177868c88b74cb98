"""What every node is: inputs, column names, and the one query that it is over its inputs."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from sqlglot import exp

from flowgrid.errors import PlanError
from flowgrid.expr.tree import Expr, quote, to_sql

NO_COLUMNS = 'NULL AS "#none"'
"""A relation without columns still has rows to count, and SQL needs something to select."""


@dataclass(frozen=True, eq=False)
class Named:
    """An expression and the column it becomes."""

    name: str
    expression: Expr

    def sql(self) -> str:
        return f"{to_sql(self.expression)} AS {quote(self.name)}"

    def shown(self) -> str:
        """For `explain`: without quotes, and without saying the same name twice."""
        same = isinstance(self.expression, exp.Column) and self.expression.name == self.name
        plain = isinstance(self.expression, exp.Column)
        text = self.expression.name if plain else to_sql(self.expression)
        return self.name if same else f"{text} AS {self.name}"


@dataclass(frozen=True, eq=False)
class SortKey:
    expression: Expr
    descending: bool = False
    nulls_first: bool = False

    def sql(self) -> str:
        order = "DESC" if self.descending else "ASC"
        nulls = "FIRST" if self.nulls_first else "LAST"
        return f"{to_sql(self.expression)} {order} NULLS {nulls}"


@dataclass(frozen=True, eq=False)
class Node:
    """A relation: rows with named columns."""

    @cached_property
    def inputs(self) -> tuple[Node, ...]:
        """The relations this one is made of, in the order of its `Node` fields."""
        found: list[Node] = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Node):
                found.append(value)
            elif isinstance(value, tuple) and value and isinstance(value[0], Node):
                found.extend(value)
        return tuple(found)

    def with_inputs(self, inputs: Sequence[Node]) -> Node:
        """The same verb over other relations; itself when they are the same ones."""
        if all(new is old for new, old in zip(inputs, self.inputs, strict=True)):
            return self
        rest = list(inputs)
        changes: dict[str, object] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Node):
                changes[field.name] = rest.pop(0)
            elif isinstance(value, tuple) and value and isinstance(value[0], Node):
                changes[field.name] = tuple(rest.pop(0) for _ in value)
        return dataclasses.replace(self, **changes)

    @property
    def columns(self) -> tuple[str, ...]:
        raise NotImplementedError

    def query(self, names: Sequence[str]) -> str:
        """The SELECT that this node is, over relations of these (quoted) names."""
        raise NotImplementedError

    def describe(self) -> str:
        """One line for `explain`."""
        return type(self).__name__


def unique_names(names: Iterable[str], where: str) -> tuple[str, ...]:
    """The names; raises `PlanError` if two are the same without regard to case."""
    seen: set[str] = set()
    kept = tuple(names)
    for name in kept:
        if name.casefold() in seen:
            raise PlanError(f"{where} would have two columns named {name!r}; rename one of them")
        seen.add(name.casefold())
    return kept
