from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flowgrid.protocol.failures import FailureKind
from flowgrid.protocol.fragment import Field, FileLeaf, FileSplit, RangeLeaf, RangeSplit

AB = (Field("a", "BIGINT"), Field("b", "VARCHAR"))
TABLE = pa.table({"a": [1, 2, 3], "b": ["x", None, "z"]})
ROWS = [(1, "x"), (2, None), (3, "z")]


def split(path: Path, row_start: int = 0, row_stop: int = -1) -> FileSplit:
    found = path.stat()
    return FileSplit(str(path), found.st_size, found.st_mtime_ns, row_start, row_stop)


def leaf(
    format_: str,
    columns: Sequence[Field] = AB,
    file_schema: Sequence[Field] = AB,
    **options: str,
) -> FileLeaf:
    return FileLeaf("files", format_, tuple(columns), tuple(file_schema), options)


def scan(slot: Any, leaf_: FileLeaf, *splits: FileSplit, sql: str = "FROM files") -> Any:
    return slot.rows(sql, [leaf_], splits={"files": splits})


def refused(slot: Any, leaf_: FileLeaf, *splits: FileSplit) -> Any:
    return slot.fails("FROM files", [leaf_], splits={"files": splits})


@pytest.fixture
def parquet(tmp_path: Path) -> Path:
    path = tmp_path / "numbers.parquet"
    pq.write_table(
        pa.table({"a": range(1000), "b": map(str, range(1000))}), path, row_group_size=100
    )
    return path


def test_ranges_of_rows_and_whole_files_come_in_the_order_of_the_splits(
    slot: Any, parquet: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.parquet"
    pq.write_table(TABLE, other)
    splits = [split(parquet, 998, 1000), split(other), split(parquet, 100, 102)]
    rows = scan(slot, leaf("parquet"), *splits)
    assert rows == [(998, "998"), (999, "999"), *ROWS, (100, "100"), (101, "101")]


def test_only_the_columns_asked_for_are_read(slot: Any, parquet: Path) -> None:
    assert scan(slot, leaf("parquet", AB[1:]), split(parquet, 5, 6)) == [("5",)]
    none = leaf("parquet", columns=())
    assert scan(slot, none, split(parquet), sql="SELECT count(*) FROM files") == [(1000,)]


@pytest.mark.parametrize("format_", ["parquet", "csv", "json", "ipc"])
def test_no_split_is_an_empty_relation_with_the_right_types(slot: Any, format_: str) -> None:
    slot.run("FROM files", [leaf(format_)], splits={})
    assert slot.read().schema == pa.schema({"a": pa.int64(), "b": pa.string()})


def test_a_path_is_taken_literally(slot: Any, tmp_path: Path) -> None:
    path = tmp_path / "it's [1] *?.parquet"
    pq.write_table(TABLE, path)
    (tmp_path / "it's 1 xy.parquet").write_bytes(path.read_bytes())
    assert scan(slot, leaf("parquet"), split(path)) == ROWS


def test_csv_is_read_with_the_planned_types(slot: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('a;b\n1;x\n2;\n3;"z"\n')
    assert scan(slot, leaf("csv", header="true", delim="';'"), split(path)) == ROWS


def test_a_csv_value_that_does_not_fit_names_the_file(slot: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n1,x\ntwo,y\n")
    failure = refused(
        slot, leaf("csv", header="TRUE", delim="','", quote="'\"'", skip="0"), split(path)
    )
    assert failure.kind is FailureKind.INPUT_INVALID
    assert str(path) in failure.message
    assert "two" in failure.message


def test_json_lines_are_read_with_the_planned_types(slot: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("".join(json.dumps(row) + "\n" for row in TABLE.to_pylist()))
    assert scan(slot, leaf("json", format="'newline_delimited'"), split(path)) == ROWS


@pytest.mark.parametrize("kind", ["file", "stream"])
def test_ipc_is_read_in_both_its_forms(slot: Any, tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.arrow"
    make = pa.ipc.new_file if kind == "file" else pa.ipc.new_stream
    with make(path, TABLE.schema) as writer:
        writer.write_table(TABLE)
    twice = "SELECT * FROM files WHERE a IN (SELECT a FROM files)"
    assert scan(slot, leaf("ipc"), split(path), sql=twice) == ROWS
    assert scan(slot, leaf("ipc", AB[1:]), split(path)) == [("x",), (None,), ("z",)]


def test_a_line_of_text_may_hold_anything_but_its_end(slot: Any, tmp_path: Path) -> None:
    lines = ['a,"b', "", "\ttab\\n", "é" * 3_000_000, " nul \0 ", "ends with return\rx", "last"]
    path = tmp_path / "a.txt"
    text = FileLeaf("files", "text", (Field("value", "VARCHAR"),), (Field("value", "VARCHAR"),))
    for end in ("\n", "\r\n"):
        path.write_bytes(end.join(lines).encode())
        assert [row[0] for row in scan(slot, text, split(path))] == lines
        path.write_bytes((end.join(lines) + end).encode())
        assert [row[0] for row in scan(slot, text, split(path))] == lines


def test_text_that_is_no_text_is_refused(slot: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"fine\n\xff\xfe\n")
    text = FileLeaf("files", "text", (Field("value", "VARCHAR"),), (Field("value", "VARCHAR"),))
    failure = refused(slot, text, split(path))
    assert failure.kind is FailureKind.INPUT_INVALID
    assert str(path) in failure.message


def test_folder_names_can_be_columns(slot: Any, tmp_path: Path) -> None:
    splits = []
    for value in ("x y", "z"):
        folder = tmp_path / f"k={value.replace(' ', '%20')}"
        folder.mkdir()
        pq.write_table(pa.table({"a": [1]}), folder / "a.parquet")
        splits.append(split(folder / "a.parquet"))
    columns = (Field("a", "BIGINT"), Field("k", "VARCHAR"))
    options = {"hive_partitioning": "true", "hive_types": "{'k': VARCHAR}"}
    assert scan(slot, leaf("parquet", columns, columns, **options), *splits) == [
        (1, "x y"),
        (1, "z"),
    ]


def test_a_csv_may_have_its_columns_in_folder_names_too(slot: Any, tmp_path: Path) -> None:
    folder = tmp_path / "k=7"
    folder.mkdir()
    (folder / "a.csv").write_text("a,b\n1,x\n")
    columns = (*AB, Field("k", "INTEGER"))
    options = {"hive_partitioning": "true", "hive_types": "{'k': INTEGER}", "header": "true"}
    found = scan(slot, leaf("csv", columns, columns, **options), split(folder / "a.csv"))
    assert found == [(1, "x", 7)]


def test_ranges_are_integers_like_pythons(slot: Any) -> None:
    numbers = RangeLeaf("numbers", "i")
    splits = {"numbers": (RangeSplit(0, 3, 1), RangeSplit(10, 4, -3), RangeSplit(5, 5, 1))}
    assert slot.rows("FROM numbers", [numbers], splits=splits) == [(0,), (1,), (2,), (10,), (7,)]
    assert slot.rows("FROM numbers", [numbers]) == []


def test_files_of_other_file_systems_are_read_through_fsspec(slot: Any) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    try:
        with memory.open("/scans/a.parquet", "wb") as file:
            pq.write_table(TABLE, file)
        size = memory.info("/scans/a.parquet")["size"]
        found = FileSplit("memory://scans/a.parquet", size, -1)
        assert scan(slot, leaf("parquet"), found) == ROWS
        gone = FileSplit("memory://scans/b.parquet", size, -1)
        assert refused(slot, leaf("parquet"), gone).kind is FailureKind.INPUT_MISSING
    finally:
        memory.rm("/scans", recursive=True)


# -- files that are not what was planned -----------------------------------------------------------


def test_a_file_that_is_gone_is_named(slot: Any, parquet: Path) -> None:
    planned = split(parquet)
    parquet.unlink()
    failure = refused(slot, leaf("parquet"), planned)
    assert failure.kind is FailureKind.INPUT_MISSING
    assert str(parquet) in failure.message


@pytest.mark.parametrize("what", ["size", "time"])
def test_a_file_that_changed_after_planning_is_named(slot: Any, parquet: Path, what: str) -> None:
    planned = split(parquet)
    if what == "size":
        pq.write_table(TABLE, parquet)
        os.utime(parquet, ns=(0, planned.modified_ns))
    else:
        os.utime(parquet, ns=(0, planned.modified_ns + 1))
    failure = refused(slot, leaf("parquet"), planned)
    assert failure.kind is FailureKind.INPUT_CHANGED
    assert str(parquet) in failure.message


@pytest.mark.parametrize("format_", ["parquet", "ipc"])
def test_a_file_that_is_not_of_its_format_is_named(slot: Any, tmp_path: Path, format_: str) -> None:
    path = tmp_path / "a.parquet"
    path.write_text("this is no such file, whatever its name says")
    failure = refused(slot, leaf(format_), split(path))
    assert failure.kind is FailureKind.INPUT_INVALID
    assert str(path) in failure.message


@pytest.mark.parametrize("format_", ["parquet", "ipc"])
def test_a_damaged_page_is_an_invalid_input(slot: Any, tmp_path: Path, format_: str) -> None:
    path = tmp_path / f"a.{format_}"
    with duckdb.connect() as kernel:
        table = kernel.sql("SELECT range AS a, md5(range::VARCHAR) AS b FROM range(50000)")
        if format_ == "parquet":
            table.write_parquet(str(path), compression="zstd")
        else:
            arrow = table.to_arrow_table()
            options = pa.ipc.IpcWriteOptions(compression="zstd")
            with pa.ipc.new_file(path, arrow.schema, options=options) as writer:
                writer.write_table(arrow)
    data = path.read_bytes()
    frame = data.index(b"\x28\xb5\x2f\xfd")  # how zstd begins
    path.write_bytes(data[:frame] + bytes(8) + data[frame + 8 :])
    failure = refused(slot, leaf(format_), split(path))
    assert failure.kind is FailureKind.INPUT_INVALID
    assert str(path) in failure.message


@pytest.mark.parametrize("format_", ["parquet", "ipc"])
@pytest.mark.parametrize(
    ("table", "said"),
    [
        (pa.table({"a": [1]}), "no column 'b'"),
        (pa.table({"a": [1.5], "b": ["x"]}), "column 'a' of {path} is DOUBLE, and BIGINT"),
        (pa.table({"a": [1], "b": ["x"], "c": [1]}), "has a column 'c'"),
    ],
)
def test_a_file_with_other_columns_is_refused_by_column_and_types(
    slot: Any, tmp_path: Path, parquet: Path, format_: str, table: pa.Table, said: str
) -> None:
    path = tmp_path / f"other.{format_}"
    if format_ == "parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(path, table.schema) as writer:
            writer.write_table(table)
    failure = refused(slot, leaf(format_, AB[:1]), split(path))
    assert failure.kind is FailureKind.INPUT_INVALID
    assert str(path) in failure.message
    assert said.format(path=path) in failure.message


def test_a_csv_with_another_header_is_refused(slot: Any, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,c\n1,x\n")
    failure = refused(
        slot, leaf("csv", header="TRUE", delim="','", quote="'\"'", skip="0"), split(path)
    )
    assert failure.kind is FailureKind.INPUT_INVALID
    assert "no column 'b'" in failure.message
