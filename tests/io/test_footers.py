"""Parquet's columns in the kernel's words, and files that do not fit together."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowgrid.errors import InputError, SchemaMismatchError
from flowgrid.io.footers import common_fields, read_footers
from flowgrid.io.listing import DataFile, list_files
from flowgrid.protocol.fragment import Field

NOON = datetime.datetime(2020, 1, 1, 12)
COLUMNS = {
    "bool": pa.array([True]),
    **{f"i{bits}": pa.array([1], f"int{bits}") for bits in (8, 16, 32, 64)},
    **{f"u{bits}": pa.array([1], f"uint{bits}") for bits in (8, 16, 32, 64)},
    "f": pa.array([1.0], pa.float32()),
    "d": pa.array([1.0]),
    "half": pa.array([1.0], pa.float16()),
    "text": pa.array(["a"]),
    "category": pa.array(["a"]).dictionary_encode(),
    "bytes": pa.array([b"a"]),
    "fixed": pa.array([b"abcd"], pa.binary(4)),
    "day": pa.array([NOON.date()]),
    "time": pa.array([NOON.time()]),
    "short": pa.array([decimal.Decimal("1.50")], pa.decimal128(9, 2)),
    "long": pa.array([decimal.Decimal("1.50")], pa.decimal128(38, 2)),
    **{f"t{unit}": pa.array([NOON], pa.timestamp(unit)) for unit in ("ms", "us", "ns")},
    "zoned": pa.array([NOON], pa.timestamp("us", "UTC")),
    "span": pa.array([1], pa.duration("us")),
}


def no_kernel(file: DataFile) -> tuple[Field, ...]:
    raise AssertionError("the kernel was asked")


def ask(file: DataFile) -> tuple[Field, ...]:
    with duckdb.connect() as kernel:
        rows = kernel.execute(f"DESCRIBE FROM read_parquet('{file.path}')").fetchall()
    return tuple(Field(row[0], row[1]) for row in rows)


@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_is_named_as_the_kernel_names_it(tmp_path: Path, name: str) -> None:
    pq.write_table(pa.table({name: COLUMNS[name]}), tmp_path / "a.parquet")
    files = list_files(tmp_path)

    assert common_fields(files, read_footers(files), ask) == ask(files[0])


def test_plain_types_do_not_need_the_kernel(tmp_path: Path) -> None:
    plain = [name for name in COLUMNS if name not in ("half", "fixed", "time", "tns")]
    pq.write_table(pa.table({name: COLUMNS[name] for name in plain}), tmp_path / "a.parquet")
    files = list_files(tmp_path)

    assert [field.name for field in common_fields(files, read_footers(files), no_kernel)] == plain


def test_columns_may_come_in_another_order(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"b": ["x"], "a": [1]}), tmp_path / "2.parquet")
    files = list_files(tmp_path)

    assert common_fields(files, read_footers(files), no_kernel) == (
        Field("a", "BIGINT"),
        Field("b", "VARCHAR"),
    )


def test_another_type_names_the_files_the_column_and_both_types(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "2.parquet")
    files = list_files(tmp_path)

    with pytest.raises(SchemaMismatchError) as caught:
        common_fields(files, read_footers(files), no_kernel)

    for part in ("'a'", "VARCHAR", "BIGINT", "1.parquet", "2.parquet"):
        assert part in str(caught.value)


def test_a_column_that_only_one_file_has_is_an_error(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": [1], "b": [1]}), tmp_path / "2.parquet")
    files = list_files(tmp_path)

    with pytest.raises(
        SchemaMismatchError, match=r"'b' is in .*2\.parquet and not in .*1\.parquet"
    ):
        common_fields(files, read_footers(files), no_kernel)


def test_what_is_no_parquet_is_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    (tmp_path / "2.parquet").write_text("a,b\n1,2\n" * 10)
    (tmp_path / "empty.parquet").touch()

    with pytest.raises(InputError, match=r"2\.parquet cannot be read as Parquet"):
        read_footers(list_files(tmp_path))
    with pytest.raises(InputError, match=r"empty\.parquet cannot be read as Parquet"):
        read_footers(list_files(tmp_path / "empty.parquet"))
