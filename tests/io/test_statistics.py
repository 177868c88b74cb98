"""What footers prove, and what they do not. The kernel is the judge."""

from __future__ import annotations

import datetime
import decimal
import math
import random
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowgrid.expr.tree import parse
from flowgrid.io.datasets import FileDataset
from flowgrid.io.footers import read_footers
from flowgrid.io.listing import list_files
from flowgrid.io.statistics import (
    ColumnStatistics,
    RowGroupFacts,
    chunk_statistics,
    may_match,
    merged,
)


def facts(minimum: object, maximum: object, nulls: int | None = 0) -> RowGroupFacts:
    found = ColumnStatistics(minimum, maximum, nulls)
    return RowGroupFacts(10, lambda name: found if name == "x" else ColumnStatistics())


@pytest.mark.parametrize(
    ("predicate", "kept"),
    [
        ("x = 5", True), ("x = 11", False), ("5 = x", True), ("11 > x", True), ("x < 1", False),
        ("x <= 1", True), ("x > 10", False), ("x >= 10", True), ("0 > x", False),
        ("x BETWEEN 11 AND 20", False), ("x BETWEEN 10 AND 20", True), ("x IN (0, 11)", False),
        ("x IN (0, 3)", True), ("x IS NULL", False), ("x IS NOT NULL", True), ("x = -1", False),
        ("x > 10.5", False), ("x < 1e0", False), ("x = 5 AND x > 10", False),
        ("x = 11 OR x = 5", True), ("x = 11 OR x = 12", False), ("NOT x = 5", True),
        ("y = 5", True), ("x + 1 = 50", True), ("x = y", True), ("x = 'a'", True),
        ("x IN (SELECT 1)", True),
    ],
)  # fmt: skip
def test_a_row_group_of_one_to_ten(predicate: str, kept: bool) -> None:
    assert may_match(parse(predicate), facts(1, 10)) is kept


@pytest.mark.parametrize(
    ("predicate", "kept"),
    [
        ("x >= DATE '1995-01-02'", False), ("x >= '1995-01-01'", True), ("x > '1995-01-01'", False),
        ("x < 'no date'", True), ("x = CAST('1994-06-01' AS DATE)", True),
    ],
)  # fmt: skip
def test_dates_compare_as_dates(predicate: str, kept: bool) -> None:
    year = facts(datetime.date(1994, 1, 1), datetime.date(1995, 1, 1))

    assert may_match(parse(predicate), year) is kept


def test_only_nulls_satisfy_no_comparison() -> None:
    nothing = facts(None, None, nulls=10)

    assert not may_match(parse("x = 1"), nothing)
    assert not may_match(parse("x IS NOT NULL"), nothing)
    assert may_match(parse("x IS NULL"), nothing)


def test_an_unknown_count_of_nulls_may_be_any() -> None:
    assert may_match(parse("x IS NULL"), facts(1, 10, nulls=None))


def test_nan_is_above_every_bound() -> None:
    assert may_match(parse("x > 100"), facts(0.0, 1.0))
    assert not may_match(parse("x < -1"), facts(0.0, 1.0))


def test_decimals_and_doubles_compare_as_doubles() -> None:
    # As exact numbers 0.07 (double) is greater than 0.07 (decimal); the kernel calls them equal.
    cents = facts(decimal.Decimal("0.01"), decimal.Decimal("0.07"))

    assert may_match(parse("x >= CAST('0.07' AS DOUBLE)"), cents)


@pytest.mark.parametrize("type_", ["DATE", "TIMESTAMP"])
def test_a_bound_that_python_has_no_value_for_is_unknown(tmp_path: Path, type_: str) -> None:
    path = str(tmp_path / "days.parquet")
    with duckdb.connect(config={"threads": 1}) as kernel:
        values = f"('infinity'::{type_}), ('2000-01-01'), ('9999-12-31'), ('-infinity')"
        kernel.execute(f"COPY (FROM (VALUES {values}) _(x)) TO '{path}'")

    found = chunk_statistics(pq.read_metadata(path).row_group(0), 0)

    assert (found.minimum, found.maximum, found.null_count) == (None, None, None)


def test_numbers_in_a_dictionary_are_counted_by_what_it_takes(tmp_path: Path) -> None:
    dice = random.Random(3)
    path = tmp_path / "numbers.parquet"
    numbers = [dice.randrange(30_000) << 30 for _ in range(200_000)]
    unlike = list(range(200_000))
    table = pa.table({"some": numbers, "unlike": pa.array(unlike, pa.int64())})
    pq.write_table(table, path, dictionary_pagesize_limit=1 << 30)
    row_group = pq.read_metadata(path).row_group(0)
    assert chunk_statistics(row_group, 0).distinct == pytest.approx(30_000, rel=0.1)
    assert chunk_statistics(row_group, 1).distinct is None


def test_bounds_of_several_parts_hold_for_all() -> None:
    assert merged(
        [ColumnStatistics(3, 9, 1), ColumnStatistics(1, 4, 0), ColumnStatistics(None, None, 5)]
    ) == ColumnStatistics(1, 9, 6)
    assert merged([ColumnStatistics(3, 9, 1), ColumnStatistics()]) == ColumnStatistics()


def test_values_of_parts_side_by_side_add_up_and_those_over_one_range_are_the_same() -> None:
    apart = [ColumnStatistics(start, start + 9, 0, 10) for start in range(0, 100, 10)]
    assert merged(apart).distinct == 100
    assert merged([ColumnStatistics(0, 99, 0, 50)] * 10).distinct == 50


VALUES: dict[str, list[object]] = {
    "i": [None, -3, 0, 1, 2, 7, 10**12],
    "d": [None, *map(decimal.Decimal, ["-1.50", "0.00", "0.07", "3.10"])],
    "f": [None, -1.5, -0.0, 0.0, 0.07, 3.1, math.inf, math.nan],
    "g": [None, -1.5, 0.1, 0.07, 3.1],
    "s": [None, "", "a", "ab", "ä", "z" * 100],
    "t": [None, datetime.date(1970, 1, 1), datetime.date(1995, 3, 15), datetime.date(2040, 1, 1)],
    "u": [None, datetime.datetime(1995, 3, 15, 12), datetime.datetime(1995, 3, 16)],
}
TYPES = {
    "i": pa.int64(), "d": pa.decimal128(15, 2), "f": pa.float64(), "g": pa.float32(),
    "s": pa.string(), "t": pa.date32(), "u": pa.timestamp("us"),
}  # fmt: skip
CONSTANTS = {
    "i": ["-3", "0", "2.5", "7", "1e12"],
    "d": ["0.07", "CAST('0.07' AS DOUBLE)", "-1.5", "3"],
    "f": ["0.07", "CAST('0.07' AS DOUBLE)", "0", "-0.0", "CAST('nan' AS DOUBLE)", "3.1"],
    "g": ["0.1", "CAST('0.1' AS DOUBLE)", "0.07", "3.1"],
    "s": ["''", "'ab'", "'ä'", "'zz'"],
    "t": ["DATE '1995-03-15'", "'1995-03-15'", "TIMESTAMP '1995-03-15 00:00:01'"],
    "u": ["DATE '1995-03-16'", "TIMESTAMP '1995-03-15 12:00:00'", "'1995-03-16'"],
}


def test_pruning_never_loses_a_row(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "x.parquet"
    columns = {n: pa.array(chance.choices(v, k=120), TYPES[n]) for n, v in VALUES.items()}
    ordered = pa.table(columns).sort_by(chance.choice(list(VALUES)))
    pq.write_table(ordered, path, row_group_size=chance.choice([1, 2, 10]))
    files = list_files(path)
    dataset = FileDataset("parquet", "x", tuple(files), (), {}, read_footers(files))
    pruned = 0

    with duckdb.connect() as kernel:
        for _ in range(300):
            name = chance.choice(list(VALUES))
            a, b = chance.choices(CONSTANTS[name], k=2)
            predicate = chance.choice(
                [f"{name} {op} {a}" for op in ("=", "<", "<=", ">", ">=")]
                + [f"{a} < {name}", f"{name} BETWEEN {a} AND {b}", f"{name} IN ({a}, {b})"]
                + [f"{name} IS NULL", f"{name} IS NOT NULL", f"{name} < {a} OR {name} > {b}"]
                + [f"NOT {name} = {a}"]
            )
            splits = [s for share in dataset.splits(3, [parse(predicate)]) for s in share]
            kept = " OR ".join(
                f"file_row_number BETWEEN {s.row_start} AND {s.row_stop - 1}"
                if s.row_stop >= 0
                else "true"
                for s in splits
            )
            rows = f"read_parquet('{path}', file_row_number = true)"
            query = f"SELECT count(*) FROM {rows} WHERE ({predicate})"
            all_rows = kernel.execute(query).fetchone()
            kept_rows = kernel.execute(f"{query} AND ({kept or 'false'})").fetchone()
            assert all_rows == kept_rows, predicate
            pruned += sum(s.row_stop - s.row_start for s in splits) < 120
    assert pruned > 30
