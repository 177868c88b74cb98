"""What planning one verb needs of planning the others."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Protocol, TypeVar

from flowgrid.logical.nodes import Node
from flowgrid.physical.stage_book import Pipeline, StageBook

T = TypeVar("T")


class Planning(Protocol):
    """The planner, as the modules for single kinds of verbs see it."""

    @property
    def book(self) -> StageBook: ...

    def pipeline(self, node: Node) -> Pipeline:
        """The node's rows as a tree over leaves, and how they are spread over tasks."""
        ...

    def settled(self, node: Node) -> Pipeline:
        """The same, in one task if the real sizes of what it reads are no more than that."""
        ...

    def decided(self, question: Hashable, answer: Callable[[], T]) -> T:
        """The answer to a question about the plan; once given it stays, however often asked."""
        ...

    def rewritten(self, kind: str, node: Node, make: Callable[[], Node]) -> Node:
        """What `make` puts in a node's place, with its own shared subplans."""
        ...

    def is_shared(self, node: Node) -> bool:
        """Whether several parts of the plan read the node's rows, which are computed once."""
        ...
