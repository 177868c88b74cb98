from __future__ import annotations

import random
from bisect import bisect_right

import numpy as np
import pyarrow as pa
import pytest
from flowgrid_executor.shuffle.partitioner import Partitioner
from flowgrid_executor.shuffle.ranges import RangeBounds, ranks

from flowgrid.protocol.fragment import BlocksOutput


def test_every_key_finds_its_range(seed: int) -> None:
    dice = random.Random(seed)
    for _ in range(300):
        alphabet = dice.choice([b"\0a", b"\0\xff", bytes(range(256))])
        start = bytes(dice.choices(alphabet, k=dice.choice([0, 4, 5, 21, 300])))

        def key(start: bytes = start, alphabet: bytes = alphabet) -> bytes:
            """Many begin alike, and many are the beginning of others."""
            length = dice.choice([0, 1, 4, 5, 6, 10, 11, 30])
            return start * (dice.random() < 0.9) + bytes(dice.choices(alphabet, k=length))

        bounds = sorted(key() for _ in range(dice.choice([0, 1, 2, 40])))
        keys = [key() for _ in range(dice.choice([0, 1, 500]))] + bounds
        found = RangeBounds(pa.array(bounds, pa.binary())).targets(pa.array(keys, pa.binary()))
        assert found.tolist() == [bisect_right(bounds, one) for one in keys]


@pytest.mark.parametrize("top", [1, 3, 10**4, 2**48, 2**64 - 1])
def test_a_rank_is_that_of_a_binary_search(seed: int, top: int) -> None:
    dice = np.random.default_rng(seed)
    for _ in range(100):
        bounds = np.sort(dice.integers(0, top, dice.integers(1, 200), np.uint64, endpoint=True))
        drawn = dice.integers(0, top, 300, np.uint64, endpoint=True)
        numbers = np.concatenate([drawn, bounds, bounds + np.uint64(1), bounds - np.uint64(1)])
        expected = np.searchsorted(bounds, numbers, side="right")
        np.testing.assert_array_equal(ranks(bounds, numbers), expected)


@pytest.mark.parametrize("type_", [pa.binary_view(), pa.binary(), pa.large_binary()])
def test_a_column_may_be_cut_from_a_longer_one(type_: pa.DataType) -> None:
    keys = pa.array([b"zz", b"a", b"bound", b"c", b"zz"], type_).slice(1, 3)
    bounds = pa.array([b"", b"bound", b"zz"], type_).slice(1, 1)
    assert RangeBounds(bounds).targets(keys).tolist() == [0, 1, 1]


def test_keys_of_the_kernel_may_be_numbers() -> None:
    bounds = RangeBounds(pa.array([-5, 0, 0, 7], pa.int64()))
    keys = pa.array([-6, -5, -1, 0, 6, 7, 2**62], pa.int64())
    assert bounds.targets(keys).tolist() == [0, 1, 1, 3, 3, 4, 4]
    assert RangeBounds(pa.array([], pa.int64())).targets(keys).tolist() == [0] * 7


def test_a_partitioner_asks_the_bounds() -> None:
    output = BlocksOutput(3, "range", "#key")
    batch = pa.record_batch({"#key": pa.array([b"c", b"a", b"b"]), "n": [1, 2, 3]})
    partitioner = Partitioner(output, 0, pa.array([b"b", b"c"]))
    np.testing.assert_array_equal(partitioner.targets(batch), [2, 0, 1])
