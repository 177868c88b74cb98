"""The stages of one job: which there are, which exchange each feeds, and what was learned of them.

An exchange is remembered by the *place* in the plan that needed it, so that planning the same plan
again finds the stage that is there instead of making another.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable, Sequence
from typing import TYPE_CHECKING

import msgspec

from flowgrid.expr.tree import Expr
from flowgrid.logical.fields import exported_fields, types_of
from flowgrid.logical.nodes import GivenTable, KernelQuery, Node
from flowgrid.logical.rendering import topological
from flowgrid.physical.changes import Change, ChangeKind, Unit, of_layout
from flowgrid.physical.exchanges import Exchange, Pending, StageRead
from flowgrid.physical.layout import Shape, partitioned_leaves, shares
from flowgrid.physical.partitioning import (
    Hashed,
    Partitioning,
    Single,
    Spread,
    hash_expression,
    key_text,
)
from flowgrid.physical.stages import HASH_COLUMN, build_stage, explain_stage, with_column
from flowgrid.protocol.fragment import BlocksOutput, Output
from flowgrid.protocol.job_graph import StageSpec, StageStatistics

if TYPE_CHECKING:
    from flowgrid.optimizer.estimates import Estimator, Size

Give = Callable[[int, GivenTable], StageSpec]
"""Turns a table in the driver's memory into a stage that has already succeeded."""


class Pipeline(msgspec.Struct, frozen=True):
    """A tree that runs in one stage, and how its rows are spread over that stage's tasks."""

    node: Node
    partitioning: Partitioning


class StageBook:
    """Makes stages and remembers exchanges. Raises `Pending` where a size is not yet known."""

    def __init__(self, shape: Shape, give: Give, seed: int) -> None:
        self.shape = shape
        self.notes: list[str] = []
        self.changes: list[Change] = []
        self._give = give
        self._seed = seed
        self._exchanges: dict[Hashable, Exchange] = {}
        self._by_stage: dict[int, Exchange] = {}
        self._new: list[StageSpec] = []
        self._texts: list[str] = []
        self._roots: dict[int, Node] = {}
        self._estimator: Estimator | None = None
        self._filtered: dict[Exchange, tuple[int, float]] = {}

    def finished(self, stage: int, statistics: StageStatistics) -> None:
        """A stage has succeeded with these sizes; hearing it twice changes nothing."""
        exchange = self._by_stage.get(stage)
        if exchange is not None and exchange.statistics is None:
            exchange.statistics = statistics
            self._estimator = None  # what it knew is older
            if exchange in self._filtered:
                by, expected = self._filtered[exchange]
                what = f"stage {stage} kept rows with a partner in stage {by}"
                self.changes.append(
                    Change(ChangeKind.FILTERED, what, expected, statistics.total_rows, Unit.ROWS)
                )

    def take_new(self) -> tuple[StageSpec, ...]:
        """The stages made since the last call."""
        stages, self._new = tuple(self._new), []
        return stages

    def explain(self) -> str:
        """The stages so far as text, and why some rows were gathered to one task."""
        return "\n".join(self._texts + [f"note: {note}" for note in dict.fromkeys(self.notes)])

    def measured(self) -> str:
        """As `explain`; the first line of every stage that others have read says what it wrote."""
        texts = [
            _with_sizes(text, self._by_stage.get(number)) for number, text in enumerate(self._texts)
        ]
        return "\n".join(texts + [f"note: {note}" for note in dict.fromkeys(self.notes)])

    def stage(self, root: Node, output: Output, text: str) -> StageSpec:
        """A new stage that runs `root`, shared out among tasks by size."""
        _require_sizes(root)
        number = len(self._texts)
        # Whole queries for one kernel are the kernel's to order; so is all with one slot.
        ordered = self.shape.slots > 1 and not any(
            isinstance(node, KernelQuery) for node in topological(root)
        )
        tasks = shares(root, self.shape)
        if self.shape.slots > 1:
            self.changes += of_layout(number, root, tasks)
        spec = build_stage(number, root, tasks, output, self._seed + number, ordered)
        self._texts.append(explain_stage(spec, root, text))
        self._new.append(spec)
        self._roots[number] = root
        return spec

    def estimate(self, stage: int) -> Size:
        """How much a stage will write, by the planner's guess."""
        return self.size_of(self._roots[stage])

    def bytes_of(self, node: Node) -> float:
        """The bytes of a relation: counted where a stage has written it, else estimated."""
        return self.size_of(node).bytes

    def rows_of(self, node: Node) -> float:
        """The rows of a relation, likewise."""
        return self.size_of(node).rows

    def size_of(self, node: Node) -> Size:
        """Rows and bytes of a relation: counted where a stage has written it, else estimated."""
        if self._estimator is None:
            from flowgrid.optimizer.estimates import Estimator  # one slot estimates nothing: 10 ms

            self._estimator = Estimator()
        return self._estimator.size(node)

    def exchange(
        self, place: Hashable, source: Node, how: Partitioning, output: BlocksOutput, text: str
    ) -> Exchange:
        """The exchange that `place` needs, made from `source` if it is not there yet."""
        known = self._exchanges.get(place)
        if known is None:
            spec = self.stage(source, output, text)
            known = Exchange(spec.number, spec.partition_count, output.target_count, how)
            if self.shape.slots > 1:
                known.expected = self.size_of(source)
            self._exchanges[place] = self._by_stage[spec.number] = known
        return known

    def filtered(self, exchange: Exchange, by: Exchange, rows: float) -> None:
        """Of so many rows, by estimate, an exchange will have only those with a partner in another."""
        self._filtered[exchange] = by.stage, rows

    def known(self, place: Hashable) -> Exchange | None:
        return self._exchanges.get(place)

    def read(self, exchange: Exchange, source: Node, broadcast: bool = False) -> StageRead:
        """The exchange's rows, which have the columns of `source`.

        Where that has none its blocks have one all the same (`NO_COLUMNS`), which is nobody's.
        """
        fields = exported_fields(source) if source.columns else ()
        return StageRead(fields, exchange, source, broadcast)

    def settled(self, pipeline: Pipeline) -> Pipeline:
        """The pipeline in one task, if what it reads turned out to be no more than that."""
        if isinstance(pipeline.partitioning, Single) or self.shape.config.planner_force_exchanges:
            return pipeline
        leaves = partitioned_leaves(pipeline.node)
        known = all(isinstance(leaf, StageRead) and leaf.exchange.statistics for leaf in leaves)
        if not known or len(shares(pipeline.node, self.shape)) > 1:
            return pipeline
        done: dict[Node, Node] = {}
        for node in topological(pipeline.node):
            if isinstance(node, StageRead) and not node.broadcast:
                done[node] = dataclasses.replace(node, together=True)
            else:
                done[node] = node.with_inputs([done[child] for child in node.inputs])
        return Pipeline(done[pipeline.node], Single())

    def given(self, node: GivenTable) -> Pipeline:
        """A table of the driver's, as the stage that it stands for."""
        known = self._exchanges.get(node)
        if known is None:
            spec = self._give(len(self._texts), node)
            self._texts.append(explain_stage(spec, node, "given by the driver"))
            self._new.append(spec)
            rows = sum(rows[0] for rows in spec.given_rows)
            how: Partitioning = Single() if spec.partition_count == 1 else Spread()
            statistics = StageStatistics((rows,), (node.table.nbytes,))
            known = Exchange(spec.number, spec.partition_count, 1, how, statistics)
            self._exchanges[node] = self._by_stage[spec.number] = known
        return Pipeline(StageRead(node.fields, known, node), known.partitioning)

    def hashed(
        self,
        place: Hashable,
        source: Node,
        keys: Sequence[Expr],
        types: Sequence[str],
        targets: int,
    ) -> Pipeline:
        """The source's rows, those with equal keys (compared in `types`) in one task."""
        have = types_of(source, keys)
        routed = with_column(source, HASH_COLUMN, hash_expression(keys, have, types))
        texts = tuple(key_text(key) for key in keys)
        how = Hashed(frozenset([texts]), tuple(types), targets)
        output = BlocksOutput(targets, "hash", HASH_COLUMN)
        exchange = self.exchange(
            place, routed, how, output, f"hash({', '.join(texts)}) × {targets}"
        )
        return Pipeline(self.read(exchange, source), how)

    def met(self, place: Hashable, source: Node, keys: Sequence[Expr]) -> Pipeline:
        """`hashed` by the keys as they are, into as many targets as the bytes want."""
        targets = self.targets(place, source)
        return self.hashed(place, source, keys, types_of(source, keys), targets)

    def targets(self, place: Hashable, *sources: Node) -> int:
        """Hash partitions for the exchange at `place`; once chosen, they stay."""
        known = self._exchanges.get(place)
        if known is not None:
            return known.target_count
        return self.shape.target_count(sum(self.bytes_of(source) for source in sources))

    def kept(self, place: Hashable, pipeline: Pipeline, text: str) -> Pipeline:
        """The pipeline's rows as blocks, spread as they are."""
        single = isinstance(pipeline.partitioning, Single)
        how: Partitioning = Single() if single else Spread()
        exchange = self.exchange(place, pipeline.node, how, BlocksOutput(1, "single"), text)
        assert not single or exchange.partition_count == 1, "what is in one task is in one task"
        return Pipeline(self.read(exchange, pipeline.node), how)

    def gathered(self, place: Hashable, pipeline: Pipeline) -> Pipeline:
        """All rows in one task."""
        pipeline = self.settled(pipeline)
        if isinstance(pipeline.partitioning, Single):
            return pipeline
        output = BlocksOutput(1, "single")
        exchange = self.exchange(place, pipeline.node, Single(), output, "single")
        return Pipeline(self.read(exchange, pipeline.node), Single())

    def broadcast(self, place: Hashable, pipeline: Pipeline) -> Node:
        """All rows in every task."""
        if isinstance(pipeline.node, StageRead):
            return dataclasses.replace(pipeline.node, broadcast=True)
        output = BlocksOutput(1, "single")
        exchange = self.exchange(place, pipeline.node, Spread(), output, "broadcast")
        return self.read(exchange, pipeline.node, broadcast=True)


def _with_sizes(text: str, exchange: Exchange | None) -> str:
    if exchange is None or exchange.statistics is None:
        return text
    sizes = exchange.statistics
    head, _, tree = text.partition("\n")
    return f"{head}  → {sizes.total_rows:,} rows, {sizes.total_bytes:,} bytes\n{tree}"


def _require_sizes(root: Node) -> None:
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, StageRead) and node.exchange.statistics is None:
            raise Pending
        stack.extend(node.inputs)


def all_of(*plans: Callable[[], Pipeline]) -> list[Pipeline]:
    """Every one of them, so that what can be submitted is, before the first `Pending` leaves."""
    done: list[Pipeline] = []
    for plan in plans:
        try:
            done.append(plan())
        except Pending:
            continue
    if len(done) < len(plans):
        raise Pending
    return done
