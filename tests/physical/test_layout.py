"""How many tasks there are, and which part of every leaf each of them reads."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from flowgrid.config import MIB, Config
from flowgrid.expr.tree import parse
from flowgrid.logical.nodes import Filter, IntegerRange, Leaf, Node, Union
from flowgrid.physical.exchanges import Exchange, StageRead
from flowgrid.physical.layout import Shape, _even_ranges, shares
from flowgrid.physical.partitioning import Hashed, Partitioning, Single, Spread
from flowgrid.protocol.fragment import Field, RangeSplit
from flowgrid.protocol.job_graph import Slice, StageStatistics
from tests.optimizer import plans

COVERS = ["exchanges"]

FIELDS = (Field("k", "BIGINT"),)
ORIGIN = Leaf(FIELDS)


def shape(slots: int, **settings: object) -> Shape:
    return Shape(
        slots, Config.parse({f"planner.{name}": value for name, value in settings.items()})
    )


def read(how: Partitioning, *bytes_: int, partitions: int = 4) -> StageRead:
    statistics = StageStatistics((1,) * len(bytes_), bytes_)
    return StageRead(FIELDS, Exchange(3, partitions, len(bytes_), how, statistics), ORIGIN)


def hashed(*bytes_: int) -> StageRead:
    return read(Hashed(frozenset([('"k"',)]), ("BIGINT",), len(bytes_)), *bytes_)


def numbers(count: int) -> IntegerRange:
    return IntegerRange(FIELDS, 0, count, 1)


def slices(root: Node, leaf: Leaf, shape: Shape) -> list[object]:
    return [share[leaf] for share in shares(root, shape)]


@pytest.mark.parametrize(
    ("bytes_", "tasks"), [(0, 1), (MIB, 1), (2 * MIB, 2), (100 * MIB, 4), (1000 * MIB, 16)]
)
def test_enough_tasks_for_all_slots_and_none_too_large(bytes_: int, tasks: int) -> None:
    assert shape(4).task_count(bytes_, 64 * MIB) == tasks


def test_the_user_may_say_how_many_hash_partitions_there_are() -> None:
    assert shape(4, partitions=7).target_count(1e12) == 7
    assert shape(4).target_count(0) == 16
    assert shape(4).target_count(1e15) == 1024


@pytest.mark.parametrize(
    ("sizes", "tasks", "wanted"),
    [
        ([1, 1, 1, 1], 2, [(0, 2), (2, 4)]),
        ([9, 1, 1, 1], 2, [(0, 1), (1, 4)]),
        ([0, 0, 0], 2, [(0, 3)]),
        ([0, 0, 9], 3, [(0, 3)]),
        ([5], 4, [(0, 1)]),
    ],
)
def test_ranges_of_about_equal_size(
    sizes: list[int], tasks: int, wanted: list[tuple[int, int]]
) -> None:
    assert _even_ranges(sizes, tasks) == wanted


@pytest.mark.parametrize("seed", range(50))
def test_ranges_are_gapless_and_no_more_than_asked(seed: int) -> None:
    dice = random.Random(seed)
    sizes = [dice.choice([0, 1, 5, 100]) for _ in range(dice.randint(1, 20))]
    tasks = dice.randint(1, 8)
    found = _even_ranges(sizes, tasks)
    assert [target for start, stop in found for target in range(start, stop)] == [
        *range(len(sizes))
    ]
    assert len(found) <= tasks


def test_targets_of_two_exchanges_are_read_together() -> None:
    one, other = hashed(10 * MIB, 10 * MIB), hashed(1, 1)
    found = shares(Union((one, other)), shape(2))
    assert [share[one] for share in found] == [share[other] for share in found]
    assert found[0][one] == Slice(0, 1, 0, 4)
    assert len(found) == 2


def test_one_slot_reads_everything_in_one_task() -> None:
    leaf = hashed(MIB, MIB)
    assert shares(leaf, shape(1)) == [{leaf: Slice(0, 2, 0, 4)}]


def test_forced_exchanges_have_a_task_for_every_target() -> None:
    leaf = hashed(0, 0, 0)
    assert len(shares(leaf, shape(2, force_exchanges=True))) == 3


def test_a_broadcast_is_nobodys_share() -> None:
    whole = StageRead(FIELDS, read(Spread(), 1).exchange, ORIGIN, broadcast=True)
    assert shares(whole, shape(2)) == [{}]


def test_what_is_broadcast_is_built_by_few_tasks(tmp_path: Path) -> None:
    facts = plans.scan(tmp_path, "facts", 1_300_000, k="hash(i)")
    settings = shape(2, split_bytes=MIB)

    def tasks(broadcast_bytes: int) -> int:
        exchange = read(Spread(), broadcast_bytes).exchange
        whole = StageRead(FIELDS, exchange, ORIGIN, broadcast=True)
        return len(shares(plans.join(facts, whole, "inner", '"facts.k" = k'), settings))

    assert tasks(1000) == 10
    assert tasks(MIB // 8) == 6
    assert tasks(MIB // 4) == 4
    assert tasks(100 * MIB) == 2


def test_few_tasks_are_as_many_for_every_slot() -> None:
    counts = [shape(2).task_count(bytes_ * MIB, 10 * MIB) for bytes_ in (1, 11, 25, 45, 75, 105)]
    assert counts == [1, 2, 4, 6, 8, 12]


def test_a_gathered_exchange_has_one_reader_and_a_kept_one_shares_its_partitions() -> None:
    gathered, kept = read(Single(), 100 * MIB), read(Spread(), 100 * MIB)
    assert slices(gathered, gathered, shape(4)) == [Slice(0, 1, 0, 4)]
    assert slices(kept, kept, shape(2)) == [Slice(0, 1, 0, 2), Slice(0, 1, 2, 4)]


def test_integers_are_dealt_out_without_gaps() -> None:
    leaf = numbers(10)
    found = [splits for share in shares(leaf, shape(3)) for splits in [share[leaf]]]
    assert found == [(RangeSplit(0, 3, 1),), (RangeSplit(3, 6, 1),), (RangeSplit(6, 10, 1),)]


def test_relations_of_a_union_have_tasks_of_their_own() -> None:
    one, other = numbers(4), numbers(6)
    found = shares(Union((Filter(one, parse("k > 1")), other)), shape(2))
    assert [list(share) for share in found] == [[one], [one], [other], [other]]


def test_a_read_says_what_it_reads_and_how_large_it_is() -> None:
    leaf = hashed(10, 20)
    assert leaf.describe() == 'Read stage 3 hashed by "k" [k]'
    assert leaf.exact_size is not None
    assert (leaf.exact_size.rows, leaf.exact_size.bytes) == (2, 30)
    guessed = StageRead(FIELDS, Exchange(1, 1, 1, Spread()), ORIGIN, broadcast=True)
    assert guessed.exact_size is None
    assert guessed.describe() == "Broadcast stage 1 [k]"
