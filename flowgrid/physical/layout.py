"""Which part of every leaf each task of a stage reads."""

from __future__ import annotations

import itertools
import math
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from typing import TypeAlias

import msgspec

from flowgrid.config import MIB, Config
from flowgrid.expr.tree import Expr, conjuncts
from flowgrid.logical.nodes import Filter, IntegerRange, Leaf, Node, Scan, Union
from flowgrid.physical.exchanges import Exchange, StageRead
from flowgrid.physical.partitioning import Hashed, Ranged, Single
from flowgrid.protocol.fragment import RangeSplit, Split
from flowgrid.protocol.job_graph import Slice

TaskShare: TypeAlias = dict[Leaf, tuple[Split, ...] | Slice]
"""What one task reads. A leaf that is missing here is a broadcast, or belongs to other tasks."""

_WORTH_A_TASK_BYTES = 1 * MIB
"""Below this a task costs more than the slot it fills."""

_READ_FOR_A_BUILD = 16
"""Bytes of a file for each byte of a broadcast: a hash table then takes a fifth of its task's time."""

_TASKS_PER_SLOT = 2
"""At least, unless building takes longer than reading: a slot that is done early helps the others."""

_EVEN_ROUNDS = 8
"""With more tasks per slot than that a last round that is not full costs little."""

_RANGE_ROWS_PER_TASK = 1_000_000


class Shape(msgspec.Struct, frozen=True):
    """What the planner knows of the cluster: how many slots there are, and the user's settings."""

    slots: int
    config: Config

    def task_count(self, bytes_: float, per_task: int) -> int:
        """How many tasks should share so many bytes: enough for all slots, none too large."""
        by_size = self.in_even_rounds(math.ceil(bytes_ / per_task))
        return max(1, by_size, min(self.slots, int(bytes_ // _WORTH_A_TASK_BYTES)))

    def in_even_rounds(self, tasks: int) -> int:
        """So many that few are not left over for a last round in which most slots have nothing to do."""
        if not self.slots < tasks < _EVEN_ROUNDS * self.slots:
            return tasks
        return math.ceil(tasks / self.slots) * self.slots

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
        return list(_hashed_shares(root, reads, shape))
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


def _hashed_shares(root: Node, reads: Sequence[StageRead], shape: Shape) -> Iterator[TaskShare]:
    """Neighbouring targets merged until a task has enough to read, skewed ones split where they may."""
    divided = divided_targets(root, reads, shape)
    for start, stop in _merged_ranges(target_sizes(reads), shape, divided):
        share: TaskShare = {read: _by_targets(read.exchange, (start, stop)) for read in reads}
        if start not in divided:
            yield share
            continue
        largest, wanted = divided[start]
        partitions = largest.exchange.partition_count
        pieces = min(partitions, wanted)
        for piece in range(pieces):
            part = (partitions * piece // pieces, partitions * (piece + 1) // pieces)
            yield {**share, largest: Slice(start, stop, *part)}


def is_skewed(root: Node, shape: Shape) -> bool:
    """Whether a task would read far too much of what hashing has made of a relation, and several could
    share it, if only nothing above needed its rows together. False while sizes are not known.
    """
    leaves = partitioned_leaves(root)
    reads = [leaf for leaf in leaves if isinstance(leaf, StageRead) and leaf.exchange.statistics]
    if not reads or len(reads) < len(leaves) or len({_targets(read) for read in reads}) > 1:
        return False
    return _targets(reads[0]) is not None and bool(divided_targets(root, reads, shape))


def divided_targets(
    root: Node, reads: Sequence[StageRead], shape: Shape
) -> Mapping[int, tuple[StageRead, int]]:
    """The targets that are too large for one task: whose rows are shared out there, by how many tasks.

    Each of them reads all the other relations of the target: that must not be more than one should.
    """
    from flowgrid.physical.skew import divisible, pieces_wanted  # one slot never needs it

    sizes = target_sizes(reads)
    per_task = _bytes_per_task(sizes, shape)
    wanted = pieces_wanted(sizes, per_task)
    divided = divisible(root) if wanted else []
    found: dict[int, tuple[StageRead, int]] = {}
    for target, pieces in wanted.items() if divided else ():
        largest = max(divided, key=lambda read: target_sizes([read])[target])
        if sizes[target] - target_sizes([largest])[target] <= per_task:
            found[target] = (largest, pieces)
    return found


def target_sizes(reads: Sequence[StageRead]) -> list[int]:
    """The bytes of every target, over all relations that meet there."""
    sizes = [0] * reads[0].exchange.target_count
    for read in reads:
        assert read.exchange.statistics is not None
        for target, bytes_ in enumerate(read.exchange.statistics.bytes):
            sizes[target] += bytes_
    return sizes


def _bytes_per_task(sizes: Sequence[int], shape: Shape) -> float:
    if shape.config.planner_force_exchanges:
        return sum(sizes) / len(sizes)
    return sum(sizes) / shape.task_count(sum(sizes), shape.config.planner_target_partition_bytes)


def _merged_ranges(
    sizes: Sequence[int], shape: Shape, alone: Container[int]
) -> Iterator[tuple[int, int]]:
    """Ranges of targets, one per task; those in `alone` are a range each."""
    if shape.config.planner_force_exchanges:
        yield from ((target, target + 1) for target in range(len(sizes)))
        return
    per_task = _bytes_per_task(sizes, shape)
    for is_alone, group in itertools.groupby(range(len(sizes)), lambda target: target in alone):
        run = list(group)
        if is_alone:
            yield from ((target, target + 1) for target in run)
            continue
        chosen = sizes[run[0] : run[-1] + 1]
        tasks = max(1, round(sum(chosen) / per_task)) if per_task else 1
        for start, stop in _even_ranges(chosen, tasks):
            yield run[0] + start, run[0] + stop


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
            predicates = pushed_predicates(root, leaf)
            return list(scan_shares(leaf, predicates, shape, _broadcast_bytes(root)))
        case IntegerRange():
            return list(_range_shares(leaf, shape))
        case StageRead(together=True):
            return [_everything(leaf)]
        case StageRead():
            return list(_partition_shares(leaf.exchange, shape))
    raise AssertionError(f"{type(leaf).__name__} is no leaf of a stage")


def scan_shares(
    scan: Scan, predicates: Sequence[Expr], shape: Shape, broadcast_bytes: int = 0
) -> list[tuple[Split, ...]]:
    """The files' row groups that can matter, dealt out to tasks.

    Every task builds a hash table of what is broadcast to it: large ones are built by few tasks.
    """
    count = shape.task_count(scan.dataset.bytes, shape.config.planner_split_bytes)
    if broadcast_bytes and count > shape.slots:
        read = scan.dataset.read_bytes(scan.columns, predicates, math.inf)
        few = shape.in_even_rounds(math.ceil(read / (broadcast_bytes * _READ_FOR_A_BUILD)))
        rounds = 1 if few < shape.slots else _TASKS_PER_SLOT
        count = min(count, max(few, rounds * shape.slots))
    return list(scan.dataset.splits(count, predicates))


def _broadcast_bytes(root: Node) -> int:
    """What every task of the stage reads whole."""
    if isinstance(root, StageRead) and root.broadcast:
        return root.exchange.statistics.total_bytes if root.exchange.statistics else 0
    return sum(_broadcast_bytes(child) for child in root.inputs)


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
    bytes_ = exchange.statistics.total_bytes if exchange.statistics else 0
    count = shape.task_count(bytes_, shape.config.planner_target_partition_bytes)
    alone = shape.config.planner_force_exchanges
    if isinstance(exchange.partitioning, Ranged) and exchange.statistics and not alone:
        for together in _even_ranges(exchange.statistics.bytes, count):
            yield _by_targets(exchange, together)
        return
    if targets > 1:  # dealt out: every target is a partition that somebody asked for
        yield from (Slice(target, target + 1, 0, partitions) for target in range(targets))
        return
    count = partitions if alone else min(partitions, count)
    for task in range(count):
        yield Slice(0, 1, partitions * task // count, partitions * (task + 1) // count)
