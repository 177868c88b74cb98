"""Table names of a session, compared without regard to case."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from flowgrid.errors import PlanError

if TYPE_CHECKING:
    from flowgrid.logical.nodes import Node

Kind: TypeAlias = Literal["frame", "table", "view"]
"""What made a name: `Session.register`, CREATE TABLE … AS, or CREATE VIEW."""

Define: TypeAlias = Callable[[Mapping[str, "Node"]], "Node"]
"""A view's query over the relations that there are when somebody reads it."""


class _Relation(msgspec.Struct):
    name: str
    kind: Kind
    meaning: Node | Define
    found: tuple[int, Node] | None = None
    """What the query of a view meant, and in which state of the catalog."""


class Catalog(Mapping[str, "Node"]):
    """The relations that a session has names for."""

    def __init__(self) -> None:
        self._relations: dict[str, _Relation] = {}
        self._changes = 0
        self._asked: list[str] = []

    def register(self, name: str, meaning: Node | Define, kind: Kind = "frame") -> None:
        """Give a relation a name; a former one of that name is forgotten."""
        if not name:
            raise PlanError("a table needs a name")
        self._relations[name.casefold()] = _Relation(name, kind, meaning)
        self._changes += 1

    def drop(self, name: str) -> None:
        del self._relations[name.casefold()]
        self._changes += 1

    def kind(self, name: str) -> Kind | None:
        """What the name was made by; None if nothing is called so."""
        found = self._relations.get(name.casefold())
        return found.kind if found is not None else None

    def table(self, name: str) -> Node:
        """Raises `PlanError` with near names."""
        if name.casefold() not in self._relations:
            near = difflib.get_close_matches(name, list(self), n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "see register()"
            raise PlanError(f"unknown table {name!r}; {hint}")
        return self[name]

    def __getitem__(self, name: str) -> Node:
        relation = self._relations[name.casefold()]
        if not callable(relation.meaning):
            return relation.meaning
        if relation.found is None or relation.found[0] != self._changes:
            if relation.name in self._asked:
                raise PlanError(f"the view {relation.name!r} reads itself")
            self._asked.append(relation.name)
            try:
                relation.found = (self._changes, relation.meaning(self))
            finally:
                self._asked.remove(relation.name)
        return relation.found[1]

    def __iter__(self) -> Iterator[str]:
        return (relation.name for relation in self._relations.values())

    def __len__(self) -> int:
        return len(self._relations)
