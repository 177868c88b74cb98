"""What a name means at a place in a query: tables, their columns, and the queries around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from sqlglot import exp

from flowgrid.expr.tree import Expr, column
from flowgrid.logical.dependent import CannotPartition
from flowgrid.logical.nodes import Named, Node, Project

if TYPE_CHECKING:
    from flowgrid.api.sql.pivots import Pivoting

Naming: TypeAlias = Callable[[int, str], str]
"""From the index and the name of a query's column to its unique name in the plan."""


class Names:
    """Column names that are unique in the whole query, without regard to case."""

    def __init__(self, reserved: Iterable[str] = ()) -> None:
        self._taken = {name.casefold() for name in reserved}
        self._prefixes: dict[str, int] = {}
        self._count = 0

    def prefix(self, alias: str) -> str:
        """`alias`, or ``alias#2`` for a second table of that name."""
        count = self._prefixes[alias.casefold()] = self._prefixes.get(alias.casefold(), 0) + 1
        return alias if count == 1 else f"{alias}#{count}"

    def under(self, prefix: str) -> Naming:
        """Names for the columns of a table: ``prefix.name``."""
        return lambda _, name: self.unique(f"{prefix}.{name}")

    def anonymous(self, _: int, __: str) -> str:
        """A `Naming` for a query whose columns nobody names."""
        return self.computed()

    def unique(self, wanted: str) -> str:
        found, number = wanted, 1
        while found.casefold() in self._taken:
            number += 1
            found = f"{wanted}#{number}"
        self._taken.add(found.casefold())
        return found

    def computed(self) -> str:
        self._count += 1
        return self.unique(f"#{self._count}")


@dataclass(frozen=True)
class Output:
    """A column as the user names it and the expression that it is here."""

    name: str
    expression: Expr


@dataclass(frozen=True)
class Bound:
    """A query as a node, and its columns as the query around it may name them."""

    node: Node
    outputs: tuple[Output, ...]

    def unique_columns(self) -> list[str]:
        return [output.expression.name for output in self.outputs]


@dataclass(frozen=True)
class Source:
    """A table of FROM under its alias."""

    alias: str
    outputs: tuple[Output, ...]


@dataclass(frozen=True)
class FromItem:
    """A relation of FROM: `visible` is what ``*`` means and what a bare name can be."""

    node: Node
    sources: tuple[Source, ...]
    visible: tuple[Output, ...]


@dataclass
class Cte:
    """A common table expression; bound at its first use, the same node for all of them."""

    name: str
    tree: exp.CTE
    scope: Scope
    recursive: bool
    bound: Bound | None = None
    used: bool = False


class Scope:
    """The tables of one SELECT, and outwards those of the queries around it."""

    def __init__(self, parent: Scope | None, ctes: Mapping[str, Cte] | None = None) -> None:
        self.parent = parent
        self.ctes: dict[str, Cte] = dict(
            ctes if ctes is not None else parent.ctes if parent else {}
        )
        self.sources: tuple[Source, ...] = ()
        self.visible: tuple[Output, ...] = ()

    def see(self, item: FromItem) -> None:
        self.sources += item.sources
        self.visible += item.visible

    def own_columns(self) -> set[str]:
        return {found.name for source in self.sources for found in _columns(source.outputs)}

    def around(self) -> Iterator[Scope]:
        """This scope and those around it, from the inside out."""
        scope: Scope | None = self
        while scope is not None:
            yield scope
            scope = scope.parent

    def find(self, parts: Sequence[str]) -> Expr | None:
        """What ``a``, ``t.a`` or ``t.a.field`` means, here or in a query around; None if nothing."""
        for scope in self.around():
            found = scope.find_here(parts)
            if found is not None:
                return found
        return None

    def find_here(self, parts: Sequence[str]) -> Expr | None:
        if len(parts) > 1:
            for source in self.sources:
                if source.alias.casefold() == parts[0].casefold():
                    found = _named(source.outputs, parts[1])
                    if found is not None:
                        return _fields(found, parts[2:])
        found = _named(self.visible, parts[0])
        return _fields(found, parts[1:]) if found is not None else None

    def source(self, alias: str) -> Source | None:
        for scope in self.around():
            for source in scope.sources:
                if source.alias.casefold() == alias.casefold():
                    return source
        return None


def _named(outputs: Sequence[Output], name: str) -> Expr | None:
    found = [out.expression for out in outputs if out.name.casefold() == name.casefold()]
    if len(found) > 1:
        raise CannotPartition(f"the name {name!r} means several columns")
    return found[0].copy() if found else None


def _fields(value: Expr, names: Sequence[str]) -> Expr:
    for name in names:
        # The parentheses tell the kernel that this is a field and not a column of a table.
        value = exp.Dot(this=exp.Paren(this=value), expression=exp.to_identifier(name, quoted=True))
    return value


def _columns(outputs: Iterable[Output]) -> Iterator[exp.Column]:
    for output in outputs:
        yield from output.expression.find_all(exp.Column)


def renamed(
    node: Node, alias: str, names: Sequence[str], columns: Sequence[str], unique: Names
) -> FromItem:
    """The relation as table `alias`: each of `columns`, called `names` by the user, is unique."""
    prefix = unique.prefix(alias)
    fresh = [unique.unique(f"{prefix}.{name}") for name in names]
    project = Project(
        node, tuple(Named(new, column(old)) for new, old in zip(fresh, columns, strict=True))
    )
    return table(project, alias, names, fresh)


def table(node: Node, alias: str, names: Sequence[str], columns: Sequence[str]) -> FromItem:
    outputs = tuple(
        Output(name, column(unique)) for name, unique in zip(names, columns, strict=True)
    )
    return FromItem(node, (Source(alias, outputs),), outputs)


def output_name(item: Expr) -> str:
    """The name that the kernel gives to an expression of the select list, as far as anybody asks."""
    if isinstance(item, exp.Alias):
        return str(item.alias)
    if isinstance(item, exp.Column | exp.Dot):
        return str(item.name or item.expression.name)
    if isinstance(item, exp.Paren):
        return output_name(item.this)
    return item.sql(dialect="duckdb", comments=False).lower()


@dataclass
class Context:
    """What all parts of one binding share."""

    tables: Mapping[str, Node]
    names: Names
    bind_query: Callable[[Expr, Scope, Naming], Bound]
    bind_pivot: Callable[[Pivoting, Scope, Naming], Bound]
    bind_cte: Callable[[Cte], Bound]
    kernel_leaf: Callable[[Expr, Scope, str, Naming], Bound]
    one_row: Callable[[], Node]
    types: dict[str, str] = field(default_factory=dict)
    """The kernel's types of the columns of registered tables, by unique name."""
