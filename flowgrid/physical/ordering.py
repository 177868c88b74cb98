"""Verbs for which the order of rows matters: ORDER BY, top-n, LIMIT."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from flowgrid.config import Config
from flowgrid.expr.tree import cast, literal, quote, to_sql
from flowgrid.logical.nodes import (
    Filter,
    IntegerRange,
    Leaf,
    Limit,
    Node,
    Project,
    Scan,
    Sort,
    SortKey,
    Window,
)
from flowgrid.physical.exchanges import Pending, StageRead
from flowgrid.physical.partitioning import Ranged, Single, Spread
from flowgrid.physical.planning import Planning
from flowgrid.physical.stage_book import Pipeline, StageBook
from flowgrid.physical.stages import KEY_COLUMN, with_column
from flowgrid.protocol.fragment import BlocksOutput

if TYPE_CHECKING:
    from flowgrid.optimizer.estimates import Size

_TOP_ROWS_MAX = 100_000
"""Up to so many rows a top-n is taken in every task and again of what is left."""

_SAMPLED_ROWS_PER_TARGET = 200
"""Rows looked at for each range of a sort: its ranges then differ by a tenth or two."""

_RANGES_MAX = 1 << 16
"""What the writer can tell apart."""


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
    met = by_ranges(planner, node, child)
    if isinstance(met.partitioning, Single):
        return Pipeline(dataclasses.replace(node, input=met.node), Single())
    done: Node = Sort(met.node, node.keys)
    if node.limit is None and not node.offset:
        return Pipeline(done, Spread())
    first = planner.book.gathered((node, "limit"), Pipeline(done, Spread()))
    return Pipeline(Limit(first.node, node.limit, node.offset), Single())


def by_ranges(planner: Planning, node: Sort, child: Pipeline, number: str = "") -> Pipeline:
    """The child's rows in targets, each target's before the next one's; equal ones are together.

    All in one task if they are few. With `number` they have that column more, which says in which
    target each is.
    """
    book, config = planner.book, planner.book.shape.config
    rows = _readable_twice(planner, node, child)
    guess = _size(book, rows)
    if _is_small(guess, config):
        return _together(book, node, rows)
    wanted = book.shape.target_count(guess.bytes) * _SAMPLED_ROWS_PER_TARGET
    fraction = planner.decided(("fraction", node), lambda: min(1.0, wanted / max(1.0, guess.rows)))
    sample = SortSample(rows, node.keys, fraction)
    met = book.gathered((node, "sample"), Pipeline(sample, Spread()))
    size = _size_by_sample(met.node, guess, fraction) if rows is child.node else guess
    targets = planner.decided(
        ("targets", node), lambda: min(_RANGES_MAX, book.shape.target_count(size.bytes))
    )
    if targets == 1 or _is_small(size, config):
        return _together(book, node, rows)
    bounds = book.broadcast((node, "bounds"), Pipeline(SortBounds(met.node, targets), Single()))
    routed: Node = RangeKey(rows, bounds, node.keys)
    given = rows
    if number:
        nowhere = cast(literal(0), "BIGINT")
        routed, given = with_column(routed, number, nowhere), with_column(rows, number, nowhere)
    output = BlocksOutput(targets, "range", KEY_COLUMN, number)
    text = f"range({', '.join(key.sql() for key in node.keys)}) × {targets}"
    exchange = book.exchange((node, "ranges"), routed, Ranged(), output, text)
    return Pipeline(book.read(exchange, given), Spread())


def window_order(node: Window) -> tuple[SortKey, ...]:
    """The order of a node's windows, which they share."""
    order = node.expressions[0].expression.args["order"]
    return tuple(
        SortKey(one.this, bool(one.args.get("desc")), bool(one.args.get("nulls_first")))
        for one in order.expressions
    )


def _readable_twice(planner: Planning, node: Sort, child: Pipeline) -> Node:
    """The child's tree if a look at all its keys costs little, else what a stage has kept of it."""
    book = planner.book

    def looks_cheap() -> bool:
        """Small relations are kept, too: then their size is certain."""
        leaf = _leaf_below(child.node)
        cheap = leaf is not None and (
            isinstance(leaf, IntegerRange)
            or (isinstance(leaf, Scan) and bool(leaf.dataset.footers))
            or (isinstance(leaf, StageRead) and leaf.exchange.target_count == 1)
        )
        return cheap and not _is_small(_size(book, child.node), book.shape.config)

    if planner.decided(("twice", node), looks_cheap):
        return child.node
    return book.kept((node, "rows"), child, "kept").node


def _leaf_below(node: Node) -> Leaf | None:
    """The leaf that a tree reads row by row, if it does nothing else."""
    while isinstance(node, Project | Filter):
        node = node.input
    return node if isinstance(node, Leaf) else None


def _size(book: StageBook, node: Node) -> Size:
    """Rows and bytes of a tree over one leaf. Raises `Pending` while nothing is known of that."""
    leaf = _leaf_below(node)
    if isinstance(leaf, StageRead) and leaf.exact_size is None:
        raise Pending
    return book.size_of(node)


def _size_by_sample(sample: Node, guess: Size, fraction: float) -> Size:
    if not isinstance(sample, StageRead):
        return guess
    if sample.exact_size is None:
        raise Pending
    rows = sample.exact_size.rows / fraction
    return dataclasses.replace(guess, rows=rows, bytes=guess.bytes * rows / max(1.0, guess.rows))


def _is_small(size: Size, config: Config) -> bool:
    fits = size.bytes <= config.planner_target_partition_bytes
    return fits and not config.planner_force_exchanges


def _together(book: StageBook, node: Sort, rows: Node) -> Pipeline:
    if isinstance(rows, StageRead):
        return Pipeline(dataclasses.replace(rows, together=True), Single())
    return book.gathered((node, "rows"), Pipeline(rows, Spread()))


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
class RangeKey(Node):
    """All columns and the sort key, by which rows are written to the ranges that `bounds` cut."""

    input: Node
    bounds: Node
    keys: tuple[SortKey, ...]

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return (*self.input.columns, KEY_COLUMN)

    def query(self, names: Sequence[str]) -> str:
        return f"SELECT *, {sort_key(self.keys)} AS {quote(KEY_COLUMN)} FROM {names[0]}"
