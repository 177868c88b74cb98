"""Where rows come from: files, tables of the driver, integers."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from flowgrid.logical.nodes.node import Node
from flowgrid.protocol.fragment import Field

if TYPE_CHECKING:
    import pyarrow as pa

    from flowgrid.io.datasets import FileDataset


@dataclass(frozen=True, eq=False)
class Leaf(Node):
    """A relation that is read, not computed: a fragment binds it by name."""

    fields: tuple[Field, ...]

    @cached_property
    def inputs(self) -> tuple[Node, ...]:
        return ()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)


@dataclass(frozen=True, eq=False)
class Scan(Leaf):
    """Rows of files; `fields` are the columns to read, `dataset.fields` those there are."""

    dataset: FileDataset

    def describe(self) -> str:
        return f"Scan {self.dataset.label} [{', '.join(self.columns)}]"


@dataclass(frozen=True, eq=False)
class GivenTable(Leaf):
    """Rows that the driver holds in memory."""

    table: pa.Table

    def describe(self) -> str:
        return f"GivenTable {self.table.num_rows} rows [{', '.join(self.columns)}]"


@dataclass(frozen=True, eq=False)
class IntegerRange(Leaf):
    """The integers of ``range(start, stop, step)``, one BIGINT column."""

    start: int
    stop: int
    step: int

    def describe(self) -> str:
        return f"IntegerRange {self.start}..{self.stop} step {self.step}"
