"""Which names of a query are tables, with respect to the common table expressions that hide them."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection
from typing import TypeAlias

from sqlglot import exp

from flowgrid.errors import PlanError
from flowgrid.expr.tree import Expr

Replace: TypeAlias = Callable[[exp.Table], None]


def each_table(tree: Expr, visit: Replace, hidden: frozenset[str] = frozenset()) -> None:
    """Calls `visit` for every table that is not a common table expression of the tree itself."""
    with_ = tree.args.get("with_")
    if with_ is not None:
        for cte in with_.expressions:
            name = cte.alias.casefold()
            inside = hidden | {name} if with_.args.get("recursive") else hidden
            each_table(cte.this, visit, inside)
            hidden = hidden | {name}
    if isinstance(tree, exp.Table) and not _is_hidden(tree, hidden):
        visit(tree)
    for child in tree.iter_expressions():
        if child is not with_:
            each_table(child, visit, hidden)


def _is_hidden(table: exp.Table, hidden: frozenset[str]) -> bool:
    is_function = not isinstance(table.this, exp.Identifier)
    return is_function or (not table.db and table.name.casefold() in hidden)


def as_input(table: exp.Table, index: int) -> None:
    """Makes a table of a query the input ``#index``, under the name it had."""
    if not table.alias:
        table.set("alias", exp.TableAlias(this=exp.to_identifier(table.name, quoted=True)))
    table.set("this", exp.to_identifier(f"#{index}", quoted=True))


def is_file(table: exp.Table) -> bool:
    """``FROM 'a.parquet'`` reads a file; the parser quotes the name."""
    return bool(table.this.args.get("quoted")) and ("." in table.name or "/" in table.name)


def unknown_table(table: exp.Table, tables: Collection[str]) -> PlanError:
    """The error for a table that nobody registered, with names that are near."""
    name = ".".join(part.name for part in table.parts)
    near = difflib.get_close_matches(name.casefold(), tables, n=3, cutoff=0.5)
    hint = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    known = ", ".join(list(tables)[:20]) or "none"
    return PlanError(f"unknown table {name!r}{hint} (tables here: {known})")
