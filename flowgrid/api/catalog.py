"""Table names of a session, compared without regard to case."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from flowgrid.errors import PlanError

if TYPE_CHECKING:
    from flowgrid.logical.nodes import Node


class Catalog(Mapping[str, "Node"]):
    """The relations that `Session.register` gave names to."""

    def __init__(self) -> None:
        self._tables: dict[str, tuple[str, Node]] = {}

    def register(self, name: str, node: Node) -> None:
        """Give a relation a name; a former one of that name is forgotten."""
        if not name:
            raise PlanError("a table needs a name")
        self._tables[name.casefold()] = (name, node)

    def table(self, name: str) -> Node:
        """Raises `PlanError` with near names."""
        found = self._tables.get(name.casefold())
        if found is None:
            near = difflib.get_close_matches(name, list(self), n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(map(repr, near))}?" if near else "see register()"
            raise PlanError(f"unknown table {name!r}; {hint}")
        return found[1]

    def __getitem__(self, name: str) -> Node:
        return self._tables[name.casefold()][1]

    def __iter__(self) -> Iterator[str]:
        return (name for name, _ in self._tables.values())

    def __len__(self) -> int:
        return len(self._tables)
