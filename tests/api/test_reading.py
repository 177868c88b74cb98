"""Files and values become frames with frozen schemas; what is wrong with them is named."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable
from pathlib import Path

import fsspec
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import flowgrid as fg
from flowgrid.api.session import Session
from flowgrid.logical.nodes import GivenTable, Scan
from flowgrid.protocol.fragment import Field

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write_file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return write_file


def test_parquet_is_read_by_file_directory_glob_and_list(session: Session, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1, 2]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": [3]}), tmp_path / "2.parquet")

    for paths in (
        tmp_path,
        tmp_path / "*.parquet",
        [tmp_path / "1.parquet", tmp_path / "2.parquet"],
    ):
        assert session.read_parquet(paths).collect()["a"].to_pylist() == [1, 2, 3]
    assert session.read_parquet(str(tmp_path / "2.parquet")).count() == 1


def test_files_of_different_schemas_are_refused(session: Session, tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    pq.write_table(pa.table({"a": ["x"]}), tmp_path / "2.parquet")

    with pytest.raises(fg.SchemaMismatchError, match="'a' is VARCHAR"):
        session.read_parquet(tmp_path)


def test_nested_parquet_is_described_by_the_kernel(session: Session, tmp_path: Path) -> None:
    pq.write_table(pa.table({"s": [{"x": [1, 2]}]}), tmp_path / "1.parquet")

    frame = session.read_parquet(tmp_path)

    assert repr(frame) == "DataFrame[s: STRUCT(x BIGINT[])]"
    assert frame.select(fg.sql_expr("s.x").list.sum().alias("n")).to_pylist()[0]["n"] == 3


def test_directories_become_typed_columns(session: Session, tmp_path: Path) -> None:
    for year, city in ((2023, "Zürich"), (2024, "New York")):
        folder = tmp_path / f"year={year}" / f"city={city}"
        folder.mkdir(parents=True)
        pq.write_table(pa.table({"a": [year]}), folder / "x.parquet")

    frame = session.read_parquet(tmp_path)

    assert repr(frame) == "DataFrame[a: BIGINT, city: VARCHAR, year: BIGINT]"
    assert frame.filter("year = 2024").to_pylist() == [
        {"a": 2024, "city": "New York", "year": 2024}
    ]
    assert session.read_parquet(tmp_path, hive_partitioning=False).columns == ["a"]


def test_partition_columns_of_csv_and_json_keep_their_types_in_every_task(
    session: Session, write: Write, tmp_path: Path
) -> None:
    for format, text in (("csv", "a,b\n1,x\n"), ("json", '{"a": 1, "b": "x"}\n')):
        for day in ("2024-01-01", "2024-01-02"):
            write(f"{format}/day={day}/f.{format}", text)
        frame = getattr(session, f"read_{format}")(tmp_path / format)

        assert repr(frame) == "DataFrame[a: BIGINT, b: VARCHAR, day: DATE]"
        assert frame.filter(fg.col("day") == datetime.date(2024, 1, 2)).count() == 1
        assert isinstance(frame.node, Scan)
        assert frame.node.dataset.options["hive_types"] == "{'day': 'DATE'}"


def test_csv_is_sniffed_once_and_frozen(session: Session, write: Write) -> None:
    path = write("a.csv", "a;day;t\n1;01.02.2024;x\n2;31.12.2024;'y'\n")

    frame = session.read_csv(path)

    assert repr(frame) == "DataFrame[a: BIGINT, day: DATE, t: VARCHAR]"
    assert isinstance(frame.node, Scan)
    options = frame.node.dataset.options
    assert (options["delim"], options["header"]) == ("';'", "true")
    assert options["dateformat"] == "'%d.%m.%Y'"
    assert frame.collect()["day"].to_pylist()[1] == datetime.date(2024, 12, 31)


def test_csv_options_win_over_what_is_sniffed(session: Session, write: Write) -> None:
    path = write("a.csv", "1|-\n2|7\n")

    frame = session.read_csv(
        path,
        has_header=False,
        separator="|",
        null_values="-",
        schema={"a": "INTEGER", "b": "DOUBLE"},
    )

    assert frame.to_pylist() == [{"a": 1, "b": None}, {"a": 2, "b": 7.0}]
    assert repr(frame) == "DataFrame[a: INTEGER, b: DOUBLE]"


def test_csv_types_are_those_that_fit_all_files(
    session: Session, write: Write, tmp_path: Path
) -> None:
    write("1.csv", "a\n1\n")
    write("2.csv", "a\n1.5\n")

    assert session.read_csv(tmp_path).collect()["a"].to_pylist() == [1.0, 1.5]


def test_csv_files_with_other_columns_are_refused(
    session: Session, write: Write, tmp_path: Path
) -> None:
    write("1.csv", "a,b\n1,2\n")
    write("2.csv", "a,c\n1,2\n")

    with pytest.raises(fg.SchemaMismatchError, match=r"'b' is in .*1\.csv and not in .*2\.csv"):
        session.read_csv(tmp_path)


def test_an_unknown_option_is_named(session: Session, write: Write) -> None:
    with pytest.raises(fg.PlanError, match="delimitr"):
        session.read_csv(write("a.csv", "a\n1\n"), delimitr=";")


def test_json_lines_and_arrays_are_read(session: Session, write: Write) -> None:
    rows = [{"a": 1, "l": [1, 2]}, {"a": 2, "l": []}]
    for text in ("\n".join(map(json.dumps, rows)), json.dumps(rows)):
        frame = session.read_json(write("a.json", text))

        assert repr(frame) == "DataFrame[a: BIGINT, l: BIGINT[]]"
        assert frame.to_pylist() == rows


def test_malformed_json_is_named(session: Session, write: Write) -> None:
    with pytest.raises(fg.InputError, match=r"a\.json cannot be read"):
        session.read_json(write("a.json", '{"a": '))


def test_ipc_and_text_are_read(session: Session, write: Write, tmp_path: Path) -> None:
    table = pa.table({"a": pa.array([1, 2], pa.int32())})
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)

    assert repr(session.read_ipc(tmp_path / "a.arrow")) == "DataFrame[a: INTEGER]"
    assert session.read_ipc(tmp_path / "a.arrow").collect()["a"].to_pylist() == [1, 2]
    lines = session.read_text(write("a.txt", "one\ntwo\n"))
    assert lines.to_pylist() == [{"value": "one"}, {"value": "two"}]
    with pytest.raises(fg.InputError, match=r"a\.txt cannot be read as Arrow IPC"):
        session.read_ipc(tmp_path / "a.txt")


def test_missing_and_wrong_files_are_named(session: Session, write: Write) -> None:
    path = write("orders.parquet", "no parquet at all, whatever its name says")

    with pytest.raises(fg.InputError, match=r"did you mean 'orders\.parquet'"):
        session.read_parquet(path.with_name("order.parquet"))
    with pytest.raises(fg.InputError, match=r"orders\.parquet cannot be read as Parquet"):
        session.read_parquet(path)


def test_names_with_wildcards_are_names(session: Session, tmp_path: Path) -> None:
    pq.write_table(pa.table({"s": [{"x": 1}]}), tmp_path / "a[1]*.parquet")

    assert session.read_parquet(tmp_path / "a[1]*.parquet").columns == ["s"]


@pytest.mark.parametrize("format", ["parquet", "csv", "json", "ipc", "text"])
def test_memory_files_are_read_by_the_driver(session: Session, format: str) -> None:
    files = fsspec.filesystem("memory")
    table = pa.table({"a": [1, 2]})
    data = {"csv": b"a\n1\n2\n", "json": b'{"a": 1}\n{"a": 2}\n', "text": b"1\r\n2\n"}
    with fsspec.open(f"memory://reading/x.{format}", "wb") as file:
        if format == "parquet":
            pq.write_table(table, file)
        elif format == "ipc":
            with pa.ipc.new_file(file, table.schema) as writer:
                writer.write_table(table)
        else:
            file.write(data[format])
    try:
        frame = getattr(session, f"read_{format}")("memory://reading/")
        assert [int(next(iter(row.values()))) for row in frame.to_pylist()] == [1, 2]
    finally:
        files.rm("/reading", recursive=True)


def test_anything_that_speaks_arrow_is_a_frame(session: Session) -> None:
    table = pa.table({"a": [1, 2], "b": ["x", None]})
    rows = table.to_pylist()
    same: list[object] = [
        table, table.to_batches()[0], table.to_batches(), table.to_reader(), pl.from_arrow(table),
        session.from_arrow(table),
    ]  # fmt: skip

    for data in same:
        assert session.from_arrow(data).to_pylist() == rows
    assert session.from_arrow(pd.DataFrame({"a": [1]})).to_pylist() == [{"a": 1}]
    with pytest.raises(fg.InputError, match="int is no Arrow data"):
        session.from_arrow(7)


def test_arrow_types_that_the_kernel_lacks_are_converted(session: Session) -> None:
    frame = session.from_arrow(
        pa.table({"d": pa.array(["x", "y"]).dictionary_encode(), "n": pa.nulls(2)})
    )

    assert isinstance(frame.node, GivenTable)
    assert frame.node.fields == (Field("d", "VARCHAR"), Field("n", "INTEGER"))
    assert frame.to_pylist() == [{"d": "x", "n": None}, {"d": "y", "n": None}]


def test_rows_as_dicts_need_a_common_type(session: Session) -> None:
    with pytest.raises(fg.InputError, match="do not make a table"):
        session.from_pylist([{"a": 1}, {"a": "x"}])
    with pytest.raises(fg.InputError, match="no rows and no schema"):
        session.from_pylist([])
    assert session.from_pylist([], pa.schema({"a": pa.int8()})).count() == 0


def test_duplicate_column_names_are_refused(session: Session) -> None:
    with pytest.raises(fg.PlanError, match="two columns named 'A'"):
        session.from_arrow(pa.table([pa.array([1]), pa.array([2])], names=["a", "A"]))


def test_relative_paths_mean_the_working_directory(
    session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "1.parquet")
    monkeypatch.chdir(tmp_path)

    frame = session.read_parquet("1.parquet")

    assert isinstance(frame.node, Scan)
    assert os.path.isabs(frame.node.dataset.files[0].path)
