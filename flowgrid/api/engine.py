"""What a DataFrame needs of whatever runs its plans; `flowgrid.submit.execution` has the real one."""

from __future__ import annotations

from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import pyarrow as pa

    from flowgrid.logical.nodes import Node


class Result(Protocol):
    """The answer of a job that has succeeded; leaving the context releases its blocks."""

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def rows(self) -> int:
        """How many rows there are; for a sink, how many it wrote."""
        ...

    def batches(self) -> Iterator[pa.RecordBatch]: ...

    def __enter__(self) -> Result: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class Engine(Protocol):
    """Runs logical plans. Every method raises subclasses of `FlowGridError`.

    A `Write` is committed when `run` returns; its result has no rows.
    """

    def run(self, plan: Node) -> Result: ...

    def explain_stages(self, plan: Node) -> str: ...

    def explain_changes(self, plan: Node) -> str:
        """What real sizes changed when this very plan ran last; "" if it has not run."""
        ...

    def analyze(self, plan: Node) -> str:
        """Runs the plan, and tells the stages that it had with what they wrote."""
        ...

    def close(self) -> None: ...
