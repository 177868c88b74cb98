"""Counts that take as little room as they can are still the counts that were given."""

from __future__ import annotations

import random
from array import array

import pytest
from flowgrid_scheduler.count_table import CountTable, pack, unpack

ROWS, COLUMNS = 6, 5


@pytest.mark.parametrize("columns", [1, COLUMNS])
def test_sums_are_those_of_the_last_counts_however_large_they_became(columns: int) -> None:
    dice = random.Random(columns)
    table, plain = CountTable(ROWS, columns), [[0] * columns for _ in range(ROWS)]
    for bits in (3, 8, 9, 16, 17, 33, 53, 2):
        for row in dice.choices(range(ROWS), k=4):
            plain[row] = [dice.randrange(1 << bits) for _ in range(columns)]
            table.put(row, plain[row])
        assert [list(table.row(row)) for row in range(ROWS)] == plain
        assert table.sums == [sum(column) for column in zip(*plain, strict=True)]


def test_a_rectangle_is_summed() -> None:
    table = CountTable(ROWS, COLUMNS)
    for row in range(ROWS):
        table.put(row, [100 * row + column for column in range(COLUMNS)])
    for rows in (range(ROWS), range(2, 4), range(3, 3)):
        for columns in (range(COLUMNS), range(1, 3), range(4, 5), range(2, 2)):
            expected = sum(100 * row + column for row in rows for column in columns)
            assert table.total(rows, columns) == expected


def test_what_was_there_before_leaves_no_trace() -> None:
    once, twice = CountTable(2, 2), CountTable(2, 2)
    twice.put(0, [1 << 40, 1])
    for table in (once, twice):
        table.put(0, [1, 2])
    assert once.fingerprint() == twice.fingerprint()
    assert once.sums == twice.sums


@pytest.mark.parametrize("largest", [0, 255, 256, 65_535, 65_536, 1 << 32, 1 << 63])
def test_packed_counts_come_back(largest: int) -> None:
    counts = array("Q", [1, largest, 0])
    assert unpack(pack(counts)).tolist() == counts.tolist()
    assert not unpack(pack(array("B")))
