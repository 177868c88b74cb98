"""From an optimised logical plan to stages, as far as can be decided now.

The planner walks the plan from its leaves and keeps what can run together in one tree. Where rows must
meet that are not together, it puts an exchange: the tree so far becomes a stage, and planning goes on
over what that stage will write. Some decisions need sizes that only a finished stage knows (broadcast
or hash, how many tasks); then planning stops with `Pending` and is taken up again, from the same plan,
when the next stage has succeeded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Hashable
from functools import partial
from typing import Any, TypeVar

import msgspec

from flowgrid.expr.tree import column, conjuncts
from flowgrid.logical.fields import types_of
from flowgrid.logical.nodes import (
    Aggregate,
    AsofJoin,
    Distinct,
    Filter,
    GivenTable,
    IntegerRange,
    Join,
    KernelQuery,
    Leaf,
    Limit,
    MapBatches,
    Named,
    Node,
    Project,
    Repartition,
    Sample,
    Scan,
    SetOperation,
    Sort,
    Union,
    Unnest,
    Window,
    Write,
)
from flowgrid.logical.rendering import consumers, topological
from flowgrid.physical.changes import explain_changes
from flowgrid.physical.exchanges import Pending, StageRead
from flowgrid.physical.layout import Shape, scan_shares
from flowgrid.physical.partitioning import Single, Spread, through_project
from flowgrid.physical.planning import Planning
from flowgrid.physical.stage_book import Give, Pipeline, StageBook, all_of
from flowgrid.protocol.fragment import BlocksOutput, Output, SinkOutput
from flowgrid.protocol.job_graph import StageSpec, StageStatistics

T = TypeVar("T")


class Advance(msgspec.Struct, frozen=True):
    """Stages that can be submitted now; `complete` when the last of them is the result."""

    stages: tuple[StageSpec, ...]
    complete: bool


class Planner(Planning):
    """Plans one job: `advance()`, and again after every `finished()`, until it is complete.

    `give` turns a driver's table into a stage; `sink` is where a `Write` puts its files. `note` is
    what `explain` should say besides.
    """

    def __init__(
        self,
        plan: Node,
        shape: Shape,
        give: Give,
        sink: SinkOutput | None = None,
        seed: int = 0,
        note: str = "",
    ) -> None:
        self._book = StageBook(shape, give, seed)
        self._book.notes += [note] if note else []
        self._plan = plan.input if isinstance(plan, Write) else plan
        self._output: Output = sink or BlocksOutput(1, "single")
        self._shared = shared_subplans(self._plan, shape.slots)
        self._copied = copied_subplans(self._plan, self._shared)
        self._planned: dict[Node, Pipeline | None] = {}
        self._decisions: dict[Hashable, Any] = {}
        self._complete = False

    @property
    def book(self) -> StageBook:
        return self._book

    def finished(self, stage: int, statistics: StageStatistics) -> None:
        """A stage has succeeded with these sizes; hearing it twice changes nothing."""
        self.book.finished(stage, statistics)

    def advance(self) -> Advance:
        """The stages that can be decided now and were not before."""
        if not self._complete:
            try:
                self._finish()
                self._complete = True
            except Pending:
                # What was planned over guesses is planned again over real sizes.
                self._planned = {
                    node: pipeline
                    for node, pipeline in self._planned.items()
                    if pipeline is not None and reads_only_finished(pipeline.node)
                }
        return Advance(self.book.take_new(), self._complete)

    def explain(self) -> str:
        """The stages decided so far, as text."""
        return self.book.explain()

    def explain_changes(self) -> str:
        """What real sizes have changed so far, as text."""
        return explain_changes(self.book.changes)

    def _finish(self) -> None:
        text = "sink" if isinstance(self._output, SinkOutput) else "result"
        one_slot = self.book.shape.slots == 1
        root = self._whole(self._plan) if one_slot else self.pipeline(self._plan).node
        self.book.stage(root, self._output, text)

    def _whole(self, root: Node) -> Node:
        """With one slot: the plan as one tree for one kernel, which optimises it itself."""
        done: dict[Node, Node] = {}
        for node in topological(root):
            if isinstance(node, GivenTable):
                done[node] = self.book.given(node).node
                continue
            inputs = [done[child] for child in node.inputs]
            if isinstance(
                node, KernelQuery
            ):  # it runs as it is: what else it means need not be found
                tree: Node = dataclasses.replace(node, relations=tuple(inputs), meaning="")
            else:
                tree = node.with_inputs(inputs)
            if node in self._shared and node is not root:
                tree = self.book.kept(("shared", node), Pipeline(tree, Single()), "shared").node
            done[node] = tree
        return done[root]

    def pipeline(self, node: Node) -> Pipeline:
        if node in self._copied:
            return self._verb(node)
        if node not in self._planned:
            self._planned[node] = None  # what stays if this raises `Pending`
            found = self._verb(node)
            if node in self._shared:
                found = self.book.kept(("shared", node), found, "shared")
            self._planned[node] = found
        known = self._planned[node]
        if known is None:
            raise Pending
        if node in self._shared:  # every reader has a leaf of its own
            return msgspec.structs.replace(known, node=dataclasses.replace(known.node))
        return known

    def settled(self, node: Node) -> Pipeline:
        return self.book.settled(self.pipeline(node))

    def decided(self, question: Hashable, answer: Callable[[], T]) -> T:
        if question not in self._decisions:
            self._decisions[question] = answer()
        found: T = self._decisions[question]
        return found

    def rewritten(self, kind: str, node: Node, make: Callable[[], Node]) -> Node:
        def rewrite() -> Node:
            made = make()
            self._shared |= shared_subplans(made, self.book.shape.slots)
            self._copied |= copied_subplans(made, self._shared)
            for below in topological(made):  # which may have got more readers
                self._planned.pop(below, None)
            return made

        return self.decided((kind, node), rewrite)

    def is_shared(self, node: Node) -> bool:
        return node in self._shared

    def _verb(self, node: Node) -> Pipeline:
        # With one slot nothing of this is needed, and a short job would wait for it.
        from flowgrid.physical import aggregation, asof, grouping, joining, ordering
        from flowgrid.physical.reduction import Reduced

        match node:
            case Scan():
                return self._scan(dataclasses.replace(node), ())
            case Filter(input=Scan() as scan) if scan not in self._shared:
                return self._scan(dataclasses.replace(scan), (node,))
            case IntegerRange():
                return Pipeline(dataclasses.replace(node), Spread())
            case GivenTable():
                return self.book.given(node)
            case Project():
                child = self.pipeline(node.input)
                how = through_project(child.partitioning, node)
                return Pipeline(dataclasses.replace(node, input=child.node), how)
            case Filter() | Sample():
                child = self.pipeline(node.input)
                return Pipeline(dataclasses.replace(node, input=child.node), child.partitioning)
            case Reduced():
                child = self.pipeline(node.input)
                return Pipeline(node.over(child.node), child.partitioning)
            case Unnest() | MapBatches():
                child = self.pipeline(node.input)
                single = isinstance(child.partitioning, Single)
                tree = dataclasses.replace(node, input=child.node)
                return Pipeline(tree, Single() if single else Spread())
            case Aggregate():
                return grouping.plan_aggregate(self, node)
            case aggregation.PartialAggregate():
                return grouping.plan_partial_aggregate(self, node)
            case aggregation.FinalAggregate():
                return grouping.plan_final_aggregate(self, node)
            case Distinct():
                return grouping.plan_distinct(self, node)
            case Window():
                return grouping.plan_window(self, node)
            case SetOperation():
                return grouping.plan_set_operation(self, node)
            case Join():
                return joining.plan_join(self, node)
            case AsofJoin():
                return asof.plan_asof_join(self, node)
            case Sort():
                return ordering.plan_sort(self, node)
            case Limit():
                return ordering.plan_limit(self, node)
            case Repartition():
                return self._repartition(node)
            case Union():
                return self._union(node)
            case KernelQuery():
                return self._kernel_query(node)
        raise AssertionError(f"no plan for {type(node).__name__}")

    def _scan(self, scan: Scan, filters: tuple[Filter, ...]) -> Pipeline:
        predicates = [part for one in filters for part in conjuncts(one.predicate)]
        one_task = len(scan_shares(scan, predicates, self.book.shape)) <= 1
        tree: Node = scan
        for one in filters:
            tree = Filter(tree, one.predicate)
        return Pipeline(tree, Single() if one_task else Spread())

    def _exactly(self, node: Node) -> Pipeline:
        """The node's rows without the column that a relation without columns has in its blocks."""
        child = self.settled(node)
        if child.node.columns == node.columns:
            return child
        tree = Project(child.node, tuple(Named(name, column(name)) for name in node.columns))
        return Pipeline(tree, child.partitioning)

    def _union(self, node: Union) -> Pipeline:
        children = all_of(*(partial(self._exactly, child) for child in node.relations))
        single = all(isinstance(child.partitioning, Single) for child in children)
        tree = Union(tuple(child.node for child in children))
        if single and self.book.rows_of(tree) <= _ONE_TASK_ROWS_MAX:
            return Pipeline(tree, Single())
        # In the tasks of one child the others read nothing, and must make nothing of it.
        children = all_of(
            *(
                partial(self.book.kept, (node, index), child, "kept")
                if makes_rows_of_nothing(child.node)
                else partial(lambda child: child, child)
                for index, child in enumerate(children)
            )
        )
        return Pipeline(Union(tuple(child.node for child in children)), Spread())

    def _repartition(self, node: Repartition) -> Pipeline:
        child = self.pipeline(node.input)
        count = node.count or self.book.shape.slots
        if count == 1:
            return self.book.gathered(node, child)
        if node.keys:
            types = types_of(child.node, node.keys)
            return self.book.hashed(node, child.node, node.keys, types, count)
        output = BlocksOutput(count, "round_robin")
        text = f"round robin × {count}"
        exchange = self.book.exchange(node, child.node, Spread(), output, text)
        return Pipeline(self.book.read(exchange, child.node), Spread())

    def _kernel_query(self, node: KernelQuery) -> Pipeline:
        self.book.notes.append(f"gathered to one task: {node.reason or node.describe()}")
        children = all_of(*(partial(self.settled, child) for child in node.relations))
        gathered = all_of(
            *(
                partial(self.book.gathered, (node, index), child)
                for index, child in enumerate(children)
            )
        )
        return Pipeline(node.with_inputs([child.node for child in gathered]), Single())


def makes_rows_of_nothing(root: Node) -> bool:
    """Whether a tree has rows although its leaves have none: an aggregate without keys does."""
    from flowgrid.physical.aggregation import FinalAggregate, PartialAggregate

    return any(
        isinstance(node, KernelQuery)
        or (isinstance(node, Aggregate | FinalAggregate | PartialAggregate) and not node.keys)
        for node in topological(root)
    )


def shared_subplans(root: Node, slots: int) -> frozenset[Node]:
    """Nodes that several verbs read and that should be computed once.

    With one slot the kernel shares by itself, except what user functions make: a stream can be read
    only once. With several, scanning twice is cheaper than writing what was scanned.
    """
    counts = consumers(root)
    heavy: dict[Node, bool] = {}
    for node in topological(root):
        own = isinstance(node, MapBatches) or (slots > 1 and not isinstance(node, _CHEAP))
        heavy[node] = own or any(heavy[child] for child in node.inputs)
    return frozenset(node for node, count in counts.items() if count > 1 and heavy[node])


def copied_subplans(root: Node, shared: frozenset[Node]) -> frozenset[Node]:
    """Nodes that several verbs read and each plans for itself, with leaves of its own."""
    counts = consumers(root)
    copied: set[Node] = set()
    for node in reversed(topological(root)):
        if node not in shared and (node in copied or counts.get(node, 0) > 1):
            copied.add(node)
            copied.update(node.inputs)
    return frozenset(copied - shared)


def reads_only_finished(root: Node) -> bool:
    """Whether all that a tree reads has its real size: planned again it would be the same."""
    return all(
        node.exchange.statistics is not None
        for node in topological(root)
        if isinstance(node, StageRead)
    )


_CHEAP = (Leaf, Filter, Project)

_ONE_TASK_ROWS_MAX = 1_000_000
"""A union of single tasks stays in one task up to here."""
