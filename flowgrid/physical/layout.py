"""Which part of every leaf each task of a stage reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from flowgrid.config import MIB, Config
from flowgrid.expr.tree import Expr, conjuncts
from flowgrid.logical.nodes import Filter, IntegerRange, Leaf, Node, Scan, Union
from flowgrid.physical.exchanges import Exchange, StageRead
from flowgrid.physical.partitioning import Hashed, Single
from flowgrid.protocol.fragment import RangeSplit, Split
from flowgrid.protocol.job_graph import Slice

TaskShare: TypeAlias = dict[Leaf, tuple[Split, ...] | Slice]
"""What one task reads. A leaf that is missing here is a broadcast, or belongs to other tasks."""

_WORTH_A_TASK_BYTES = 1 * MIB
"""Below this a task costs more than the slot it fills."""

_RANGE_ROWS_PER_TASK = 1_000_000


@dataclass(frozen=True)
class Shape:
    """What the planner knows of the cluster: how many slots there are, and the user's settings."""

    slots: int
    config: Config

    def task_count(self, bytes_: float, per_task: int) -> int:
        """How many tasks should share so many bytes: enough for all slots, none too large."""
        wanted = max(
            math.ceil(bytes_ / per_task), min(self.slots, int(bytes_ // _WORTH_A_TASK_BYTES))
        )
        return max(1, wanted)

    def target_count(self, bytes_: float) -> int:
        """Hash partitions of an exchange: some per slot, so that they can be merged evenly."""
        if self.config.planner_partitions:
            return self.config.planner_partitions
        by_size = math.ceil(bytes_ / max(1, self.config.planner_target_partition_bytes // 2))
        return min(1024, max(4 * self.slots, by_size))


def shares(root: Node, shape: Shape) -> list[TaskShare]:
    """One share per task of the stage whose fragment is `root`, in partition order."""
    if shape.slots == 1:
        return [{leaf: _everything(leaf) for leaf in partitioned_leaves(root)}]
    leaves = partitioned_leaves(root)
    if not leaves:
        return [{}]
    targets = {_targets(leaf) for leaf in leaves}
    if len(targets) == 1 and None not in targets:
        reads = [leaf for leaf in leaves if isinstance(leaf, StageRead)]
        ranges = _merged_ranges([read.exchange for read in reads], shape)
        return [{read: _by_targets(read.exchange, one) for read in reads} for one in ranges]
    if len(leaves) == 1:
        return [{leaves[0]: share} for share in _leaf_shares(leaves[0], root, shape)]
    return _several(root, shape)


def _everything(leaf: Leaf) -> tuple[Split, ...] | Slice:
    match leaf:
        case Scan():
            return leaf.dataset.whole()
        case IntegerRange():
            return (RangeSplit(leaf.start, leaf.stop, leaf.step),)
        case StageRead():
            return _by_targets(leaf.exchange, (0, leaf.exchange.target_count))
    raise AssertionError(f"{type(leaf).__name__} is no leaf of a stage")


def _several(root: Node, shape: Shape) -> list[TaskShare]:
    node = root
    while True:
        branches = [child for child in node.inputs if partitioned_leaves(child)]
        if len(branches) > 1:
            break
        node = branches[0]
    parts = [shares(branch, shape) for branch in branches]
    if isinstance(node, Union) and any(len(part) > 1 for part in parts):
        return [share for part in parts for share in part]
    assert all(len(part) == 1 for part in parts), "only co-partitioned relations meet in one task"
    return [{leaf: what for part in parts for leaf, what in part[0].items()}]


def partitioned_leaves(root: Node) -> list[Leaf]:
    """The leaves that the tasks of a stage share out: all but broadcasts."""
    found: list[Leaf] = []
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, StageRead) and node.broadcast:
            continue
        if isinstance(node, Leaf) and node not in found:
            found.append(node)
        stack.extend(reversed(node.inputs))
    return found


def _targets(leaf: Leaf) -> int | None:
    if isinstance(leaf, StageRead) and not leaf.together:
        how = leaf.exchange.partitioning
        return how.targets if isinstance(how, Hashed) else None
    return None


def _merged_ranges(exchanges: Sequence[Exchange], shape: Shape) -> list[tuple[int, int]]:
    """Neighbouring targets merged until a task has enough to read."""
    count = exchanges[0].target_count
    if shape.config.planner_force_exchanges:
        return [(target, target + 1) for target in range(count)]
    sizes = [0] * count
    for exchange in exchanges:
        assert exchange.statistics is not None
        for target, bytes_ in enumerate(exchange.statistics.bytes):
            sizes[target] += bytes_
    tasks = shape.task_count(sum(sizes), shape.config.planner_target_partition_bytes)
    return _even_ranges(sizes, tasks)


def _even_ranges(sizes: Sequence[int], tasks: int) -> list[tuple[int, int]]:
    """At most `tasks` ranges of about equal size, none empty of targets."""
    ranges: list[tuple[int, int]] = []
    total, start, seen = max(1, sum(sizes)), 0, 0
    for target, size in enumerate(sizes):
        seen += size
        full = len(ranges) < tasks - 1 and seen * tasks >= total * (len(ranges) + 1)
        if full or target == len(sizes) - 1:
            ranges.append((start, target + 1))
            start = target + 1
    return ranges


def _by_targets(exchange: Exchange, targets: tuple[int, int]) -> Slice:
    return Slice(targets[0], targets[1], 0, exchange.partition_count)


def _leaf_shares(leaf: Leaf, root: Node, shape: Shape) -> list[tuple[Split, ...] | Slice]:
    match leaf:
        case Scan():
            return list(scan_shares(leaf, pushed_predicates(root, leaf), shape))
        case IntegerRange():
            return list(_range_shares(leaf, shape))
        case StageRead(together=True):
            return [_everything(leaf)]
        case StageRead():
            return list(_partition_shares(leaf.exchange, shape))
    raise AssertionError(f"{type(leaf).__name__} is no leaf of a stage")


def scan_shares(scan: Scan, predicates: Sequence[Expr], shape: Shape) -> list[tuple[Split, ...]]:
    """The files' row groups that can matter, dealt out to tasks."""
    count = shape.task_count(scan.dataset.bytes, shape.config.planner_split_bytes)
    return list(scan.dataset.splits(count, predicates))


def pushed_predicates(root: Node, scan: Scan) -> list[Expr]:
    """What must be true of a scan's rows because a filter stands directly above it."""
    stack = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, Filter) and node.input is scan:
            return list(conjuncts(node.predicate))
        stack.extend(node.inputs)
    return []


def _range_shares(leaf: IntegerRange, shape: Shape) -> Iterable[tuple[Split, ...]]:
    numbers = range(leaf.start, leaf.stop, leaf.step)
    count = max(1, min(len(numbers), max(shape.slots, len(numbers) // _RANGE_ROWS_PER_TASK)))
    for task in range(count):
        part = numbers[len(numbers) * task // count : len(numbers) * (task + 1) // count]
        yield (RangeSplit(part.start, part.stop, part.step),)


def _partition_shares(exchange: Exchange, shape: Shape) -> Iterable[Slice]:
    targets, partitions = exchange.target_count, exchange.partition_count
    if isinstance(exchange.partitioning, Single):
        yield Slice(0, targets, 0, partitions)
        return
    if targets > 1:  # dealt out: every target is a partition that somebody asked for
        yield from (Slice(target, target + 1, 0, partitions) for target in range(targets))
        return
    bytes_ = exchange.statistics.total_bytes if exchange.statistics else 0
    count = shape.task_count(bytes_, shape.config.planner_target_partition_bytes)
    count = partitions if shape.config.planner_force_exchanges else min(partitions, count)
    for task in range(count):
        yield Slice(0, 1, partitions * task // count, partitions * (task + 1) // count)
