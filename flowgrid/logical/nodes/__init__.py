"""What was asked, as an immutable tree: one node per verb, checked by its constructor.

A node knows its inputs, its column names, and the one SQL query that it is over its inputs'
relations (`query`). That is all the kernel needs, and all the type oracle needs
(`flowgrid.logical.schema`). Column names are unique within a node without regard to case, and the two
inputs of a join share none; whoever builds a join renames first.

Nodes are compared by identity: a node that is used twice is a shared subplan.
"""

from __future__ import annotations

from flowgrid.logical.nodes.leaves import GivenTable, IntegerRange, Leaf, Scan
from flowgrid.logical.nodes.node import NO_COLUMNS, Named, Node, SortKey, unique_names
from flowgrid.logical.nodes.several import (
    AsofJoin,
    Join,
    JoinKind,
    KernelQuery,
    SetOperation,
    Union,
)
from flowgrid.logical.nodes.single import (
    Aggregate,
    Distinct,
    Filter,
    Limit,
    MapBatches,
    Project,
    Repartition,
    SameColumns,
    Sample,
    Sort,
    Unnest,
    Window,
    Write,
)

__all__ = [
    "NO_COLUMNS",
    "Aggregate",
    "AsofJoin",
    "Distinct",
    "Filter",
    "GivenTable",
    "IntegerRange",
    "Join",
    "JoinKind",
    "KernelQuery",
    "Leaf",
    "Limit",
    "MapBatches",
    "Named",
    "Node",
    "Project",
    "Repartition",
    "SameColumns",
    "Sample",
    "Scan",
    "SetOperation",
    "Sort",
    "SortKey",
    "Union",
    "Unnest",
    "Window",
    "Write",
    "unique_names",
]
