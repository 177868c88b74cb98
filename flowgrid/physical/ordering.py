"""Verbs for which the order of rows matters: ORDER BY, top-n, LIMIT."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from flowgrid.expr.tree import cast, column, literal, quote, to_sql
from flowgrid.logical.nodes import Limit, Node, Sort, SortKey
from flowgrid.physical.exchanges import Pending, StageRead
from flowgrid.physical.partitioning import Single, Spread
from flowgrid.physical.planning import Planning
from flowgrid.physical.stage_book import Pipeline
from flowgrid.physical.stages import TARGET_COLUMN, with_column
from flowgrid.protocol.fragment import BlocksOutput

_TOP_ROWS_MAX = 100_000
"""Up to so many rows a top-n is taken in every task and again of what is left."""

_SAMPLED_ROWS_PER_TARGET = 200
"""Rows looked at for each range of a sort: its ranges then differ by a tenth or two."""


def plan_limit(planner: Planning, node: Limit) -> Pipeline:
    """The first rows of every task, then the first of those, in the order of the tasks."""
    child = planner.settled(node.input)
    if not isinstance(child.partitioning, Single):
        first = child.node
        if node.limit is not None:
            first = Limit(first, node.limit + node.offset)
        child = planner.book.gathered(node, Pipeline(first, Spread()))
    return Pipeline(dataclasses.replace(node, input=child.node), Single())


def plan_sort(planner: Planning, node: Sort) -> Pipeline:
    """In one task if it is small or only its top is wanted, else by ranges, each sorted alone."""
    child = planner.settled(node.input)
    here = dataclasses.replace(node, input=child.node)
    if isinstance(child.partitioning, Single):
        return Pipeline(here, Single())
    if node.limit is not None and node.limit + node.offset <= _TOP_ROWS_MAX:
        top = dataclasses.replace(here, limit=node.limit + node.offset, offset=0)
        met = planner.book.gathered(node, Pipeline(top, Spread()))
        return Pipeline(dataclasses.replace(node, input=met.node), Single())
    whole = planner.book.kept((node, "rows"), child, "kept")
    assert isinstance(whole.node, StageRead)
    size = whole.node.exact_size
    if size is None:
        raise Pending
    config = planner.book.shape.config
    small = size.bytes <= config.planner_target_partition_bytes
    targets = planner.decided(
        ("targets", node), lambda: planner.book.shape.target_count(size.bytes)
    )
    if targets == 1 or (small and not config.planner_force_exchanges):
        together = dataclasses.replace(whole.node, together=True)
        return Pipeline(dataclasses.replace(node, input=together), Single())
    ranged = by_ranges(planner, node, whole.node, targets)
    done: Node = Sort(ranged, node.keys)
    if node.limit is None and not node.offset:
        return Pipeline(done, Spread())
    met = planner.book.gathered((node, "limit"), Pipeline(done, Spread()))
    return Pipeline(Limit(met.node, node.limit, node.offset), Single())


def by_ranges(
    planner: Planning, node: Sort, rows: StageRead, targets: int, number: str = ""
) -> StageRead:
    """The rows in so many targets, each target's before the next one's; equal ones are together.

    With `number` they have that column more, which says which target it is.
    """
    book = planner.book
    size = rows.exact_size
    assert size is not None
    fresh = dataclasses.replace(rows)
    sample = SortSample(fresh, node.keys, targets * _SAMPLED_ROWS_PER_TARGET / max(1.0, size.rows))
    met = book.gathered((node, "sample"), Pipeline(sample, Spread()))
    bounds = book.broadcast((node, "bounds"), Pipeline(SortBounds(met.node, targets), Single()))
    routed: Node = RangeTarget(dataclasses.replace(rows), bounds, node.keys)
    given: Node = rows
    if number:
        routed = with_column(routed, number, column(TARGET_COLUMN))
        given = with_column(rows, number, cast(literal(0), "BIGINT"))
    output = BlocksOutput(targets, "target", TARGET_COLUMN)
    text = f"range({', '.join(key.sql() for key in node.keys)}) × {targets}"
    exchange = book.exchange((node, "ranges"), routed, Spread(), output, text)
    return book.read(exchange, given)


def sort_key(keys: Sequence[SortKey]) -> str:
    """One BLOB that compares byte by byte as the keys do; an idea and a function of the kernel."""
    parts = []
    for key in keys:
        order = "DESC" if key.descending else "ASC"
        nulls = "FIRST" if key.nulls_first else "LAST"
        parts.append(f"{to_sql(key.expression)}, '{order} NULLS {nulls}'")
    return f"create_sort_key({', '.join(parts)})"


@dataclass(frozen=True, eq=False)
class SortSample(Node):
    """The sort keys of some rows."""

    input: Node
    keys: tuple[SortKey, ...]
    fraction: float

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return ("#key",)

    def query(self, names: Sequence[str]) -> str:
        return (
            f'SELECT {sort_key(self.keys)} AS "#key" FROM {names[0]} '
            f"WHERE random() < {self.fraction!r}"
        )


@dataclass(frozen=True, eq=False)
class SortBounds(Node):
    """One row: the sampled keys that cut the sample into `targets` equal parts, in order."""

    input: Node
    targets: int

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return ("#bounds",)

    def query(self, names: Sequence[str]) -> str:
        count = self.targets
        return (
            'SELECT coalesce(list("#key" ORDER BY "#key"), []) AS "#bounds" FROM (SELECT "#key", '
            'row_number() OVER (ORDER BY "#key") - 1 AS "#row", count(*) OVER () AS "#rows" '
            f'FROM {names[0]}) WHERE "#row" > 0 '
            f'AND "#row" * {count} // "#rows" > ("#row" - 1) * {count} // "#rows"'
        )


@dataclass(frozen=True, eq=False)
class RangeTarget(Node):
    """All columns and the number of the range that each row belongs to."""

    input: Node
    bounds: Node
    keys: tuple[SortKey, ...]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return (*self.input.columns, TARGET_COLUMN)

    def query(self, names: Sequence[str]) -> str:
        return (
            f'SELECT r.*, len(list_filter("#bounds", lambda b: b <= {sort_key(self.keys)})) '
            f"AS {quote(TARGET_COLUMN)} FROM {names[0]} AS r CROSS JOIN {names[1]}"
        )
