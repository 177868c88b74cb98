"""From the names in an expression to the columns they mean, or an error that offers near names.

Names are compared as the kernel does: exactly first, then without regard to case.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlglot import exp

from flowgrid.errors import ColumnNotFoundError, PlanError
from flowgrid.expr.tree import Expr, column


def find_name(name: str, columns: Sequence[str]) -> str | None:
    """The column that `name` means, in the column's own spelling."""
    if name in columns:
        return name
    folded = name.casefold()
    return next((found for found in columns if found.casefold() == folded), None)


def column_named(name: str, columns: Sequence[str], where: str = "") -> str:
    """As `find_name`; raises `ColumnNotFoundError`."""
    found = find_name(name, columns)
    if found is None:
        raise ColumnNotFoundError(name, columns, where)
    return found


def resolve(expression: Expr, columns: Sequence[str], where: str = "") -> Expr:
    """The expression with every column under its exact name, quoted; ``s.f`` is a field of struct s.

    Raises `ColumnNotFoundError`, and `PlanError` for what is no value of a single row or group:
    subqueries, and functions that make several rows of one.
    """

    def replace(node: Expr) -> Expr:
        if isinstance(node, exp.Column) and not isinstance(node.this, exp.Star):
            return _resolve_column(node, columns, where)
        if isinstance(node, exp.Query):
            raise PlanError("a subquery in an expression needs tables: use session.sql(…)")
        if isinstance(node, exp.Explode | exp.Unnest):
            raise PlanError("unnest changes the number of rows: use DataFrame.explode(…)")
        return node

    return expression.copy().transform(replace, copy=False)


def _resolve_column(node: exp.Column, columns: Sequence[str], where: str) -> Expr:
    parts = [part.name for part in node.parts]
    if len(parts) == 1 and parts[0].casefold() in bound_names(node):
        return node
    found: Expr = column(column_named(parts[0], columns, where))
    for field in parts[1:]:
        # The parentheses tell the kernel that this is a field and not a column of a table.
        found = exp.Dot(
            this=exp.Paren(this=found), expression=exp.to_identifier(field, quoted=True)
        )
    return found


def bound_names(node: Expr) -> set[str]:
    """Casefolded names that list comprehensions and lambdas around `node` give to their items."""
    names: set[str] = set()
    parent = node.parent
    while parent is not None:
        if isinstance(parent, exp.Comprehension):
            names.add(parent.args["expression"].name.casefold())
        elif isinstance(parent, exp.Lambda):
            names.update(bound.name.casefold() for bound in parent.expressions)
        parent = parent.parent
    return names


def fresh_names(prefix: str, count: int, taken: Sequence[str]) -> list[str]:
    """`count` names of the form ``#prefix0`` that none of the `taken` ones has."""
    folded = {name.casefold() for name in taken}
    found: list[str] = []
    number = 0
    while len(found) < count:
        candidate = f"#{prefix}{number}"
        if candidate.casefold() not in folded:
            found.append(candidate)
        number += 1
    return found


def distinct_names(names: Sequence[str]) -> list[str]:
    """Names of a table: the kernel calls a second x x_1, or the next that is free."""
    seen: set[str] = set()
    found: list[str] = []
    for name in names:
        candidate, number = name, 0
        while candidate.casefold() in seen:
            number += 1
            candidate = f"{name}_{number}"
        seen.add(candidate.casefold())
        found.append(candidate)
    return found
