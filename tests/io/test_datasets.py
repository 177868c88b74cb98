"""How tasks share files."""

from __future__ import annotations

import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowgrid.expr.tree import parse
from flowgrid.io.datasets import FileDataset
from flowgrid.io.footers import read_footers
from flowgrid.io.listing import DataFile, list_files
from flowgrid.io.statistics import UNKNOWN, ColumnStatistics
from flowgrid.protocol.fragment import FileSplit


def parquet(folder: Path, *row_groups: list[int]) -> FileDataset:
    """One file per argument; the list has the number of rows of each row group."""
    start = 0
    for number, sizes in enumerate(row_groups):
        schema = pa.schema({"x": pa.int64(), "s": pa.struct({"y": pa.int64()})})
        with pq.ParquetWriter(folder / f"{number}.parquet", schema) as writer:
            for size in sizes:
                values = list(range(start, start + size))
                rows = pa.table({"x": values, "s": [{"y": v} for v in values]}, schema)
                writer.write_table(rows)
                start += size
    files = tuple(list_files(folder))
    return FileDataset("parquet", "x", files, (), {}, read_footers(files))


def shown(shares: list[tuple[FileSplit, ...]]) -> list[list[tuple[str, int, int]]]:
    return [[(Path(s.path).stem, s.row_start, s.row_stop) for s in share] for share in shares]


def test_a_large_file_is_cut_between_row_groups_and_small_ones_share_a_task(tmp_path: Path) -> None:
    dataset = parquet(tmp_path, [1000, 1000, 1000, 1000], [10], [10])

    assert shown(dataset.splits(2)) == [
        [("0", 0, 2000)],
        [("0", 2000, 4000), ("1", 0, -1), ("2", 0, -1)],
    ]


def test_there_are_never_more_shares_than_row_groups(tmp_path: Path) -> None:
    assert len(parquet(tmp_path, [10, 10], [10]).splits(100)) == 3


def test_one_share_is_everything_in_order(tmp_path: Path) -> None:
    assert shown(parquet(tmp_path, [10, 10], [10]).splits(1)) == [[("0", 0, 20), ("1", 0, -1)]]


def test_row_groups_that_cannot_match_are_left_out(tmp_path: Path) -> None:
    dataset = parquet(tmp_path, [10, 10, 10], [10])

    assert shown(dataset.splits(1, [parse("x < 5 OR X BETWEEN 22 AND 31")])) == [
        [("0", 0, 10), ("0", 20, 30), ("1", 0, -1)]
    ]
    assert shown(dataset.splits(4, [parse("x > 5"), parse("x < 0")])) == [[]]
    assert shown(dataset.splits(1, [parse("s.y < 0")])) == [[("0", 0, 30), ("1", 0, -1)]]


def test_files_of_other_formats_stay_whole() -> None:
    files = tuple(DataFile(f"/{name}", size, 0) for name, size in (("a", 50), ("b", 1), ("c", 50)))
    dataset = FileDataset("csv", "x", files, ())

    assert shown(dataset.splits(2)) == [[("a", 0, -1), ("b", 0, -1)], [("c", 0, -1)]] or shown(
        dataset.splits(2)
    ) == [[("a", 0, -1)], [("b", 0, -1), ("c", 0, -1)]]
    assert len(dataset.splits(9)) == 3
    assert dataset.rows is None


def test_files_of_unknown_size_are_dealt_out_too() -> None:
    files = tuple(DataFile(f"memory://{i}", -1, -1) for i in range(4))

    assert [len(share) for share in FileDataset("csv", "x", files, ()).splits(2)] == [2, 2]


@pytest.mark.parametrize("count", range(1, 12))
def test_every_row_is_in_exactly_one_share(tmp_path: Path, count: int) -> None:
    dataset = parquet(tmp_path, [3, 1, 4, 1, 5], [9], [2, 6, 5, 3, 5])

    rows = [
        (split.path, row)
        for share in dataset.splits(count)
        for split in share
        for row in range(split.row_start, 9 if split.row_stop < 0 else split.row_stop)
    ]

    assert len(rows) == len(set(rows)) == dataset.rows == 44


def test_statistics_cover_all_files(tmp_path: Path) -> None:
    dataset = parquet(tmp_path, [10, 10], [10])

    assert dataset.column_statistics("X") == ColumnStatistics(0, 29, 0)
    assert dataset.column_statistics("s") is UNKNOWN
    assert dataset.column_statistics("y") is UNKNOWN


def test_real_tables_have_statistics(tpch_data: Path) -> None:
    files = tuple(list_files(tpch_data / "orders.parquet"))
    orders = FileDataset("parquet", "orders", files, (), {}, read_footers(files))
    found = orders.column_statistics("o_orderdate")

    assert orders.rows == 75_000
    assert isinstance(found.minimum, datetime.date)
    assert found.minimum < datetime.date(1992, 2, 1)
    assert found.null_count == 0
