from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from flowgrid_executor.shuffle.partitioner import Partitioner, group_rows, hash_targets

from flowgrid.protocol.fragment import BlocksOutput


@pytest.mark.parametrize("target_count", [1, 3, 255, 256, 257, 70_000])
def test_rows_are_grouped_by_target_and_keep_their_order(target_count: int, seed: int) -> None:
    targets = np.random.default_rng(seed).integers(0, target_count, 10_000)
    order, bounds = group_rows(targets, target_count)
    assert sorted(order) == list(range(10_000))
    for target in {0, target_count // 2, target_count - 1, int(targets[0])}:
        rows = order[bounds[target] : bounds[target + 1]]
        assert rows.tolist() == np.flatnonzero(targets == target).tolist()


def test_a_target_that_does_not_exist_is_refused() -> None:
    for wrong in (-1, 4, 300):
        with pytest.raises(ValueError, match="outside 0 … 3"):
            group_rows(np.array([0, wrong]), 4)


def test_no_rows_are_no_problem() -> None:
    order, bounds = group_rows(np.array([], dtype=np.int64), 3)
    assert len(order) == 0
    assert bounds.tolist() == [0, 0, 0, 0]


def test_the_high_bits_of_a_hash_choose_evenly() -> None:
    top = np.uint64(2**64 - 1)
    assert hash_targets(np.array([0, top], dtype=np.uint64), 7).tolist() == [0, 6]
    steps = np.arange(70_000, dtype=np.uint64) * np.uint64(2**64 // 70_000)
    counts = np.bincount(hash_targets(steps, 7))
    assert counts.min() >= 9_998
    # Low bits belong to the kernel's hash tables and must not matter.
    assert len(set(hash_targets(np.arange(1000, dtype=np.uint64), 7).tolist())) == 1


def test_round_robin_goes_on_where_the_last_batch_ended_and_tasks_begin_apart() -> None:
    output = BlocksOutput(4, "round_robin")
    batch = pa.record_batch({"a": range(5)})
    partitioner = Partitioner(output, partition=6)
    assert partitioner.targets(batch).tolist() == [2, 3, 0, 1, 2]
    assert partitioner.targets(batch).tolist() == [3, 0, 1, 2, 3]


def test_a_row_without_a_hash_is_refused() -> None:
    batch = pa.record_batch({"h": pa.array([0, None], pa.uint64())})
    with pytest.raises(ValueError, match="hash of the keys is NULL"):
        Partitioner(BlocksOutput(2, "hash", "h"), 0).targets(batch)
