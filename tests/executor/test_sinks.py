from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from flowgrid_executor import sinks

from flowgrid.config import MIB
from flowgrid.protocol.failures import FailureKind
from flowgrid.protocol.fragment import SinkOutput

FORMATS = ["parquet", "csv", "json", "ipc"]
SELECT = (
    "SELECT i, CASE WHEN i % 3 > 0 THEN 'x, \"' || i || '\"' END AS s, i / 4 AS d"
    " FROM range(10) t(i)"
)


def read(path: Path, select: str = "*") -> Any:
    """What another program finds in the files below `path`."""
    with duckdb.connect() as kernel:
        if path.suffix == ".ipc":
            with pa.ipc.open_file(path) as file:
                table = file.read_all()
            kernel.register("files", table)
            return kernel.sql(f"SELECT {select} FROM files").fetchall()
        return kernel.sql(f"SELECT {select} FROM '{path}'").fetchall()


def expected(select: str = SELECT) -> Any:
    with duckdb.connect() as kernel:
        return kernel.sql(select).fetchall()


@pytest.mark.parametrize("format_", FORMATS)
def test_rows_come_back_from_the_file_as_they_were(slot: Any, tmp_path: Path, format_: str) -> None:
    sink = SinkOutput(format_, str(tmp_path / "staging"))
    report = slot.run(SELECT, output=sink, partition=3, number=1)

    (file,) = report.files
    path = tmp_path / "staging" / "9-3-1" / file.path
    assert file.path == f"part-00003-1.{format_}"
    assert file.bytes == path.stat().st_size
    assert (file.rows, report.rows) == (10, (10,))
    assert read(path) == expected()


@pytest.mark.parametrize("format_", FORMATS)
def test_partition_values_become_folders(slot: Any, tmp_path: Path, format_: str) -> None:
    sink = SinkOutput(format_, str(tmp_path), partition_by=("k", "n"))
    query = (
        "SELECT i AS k2, CASE WHEN i % 3 = 0 THEN 'a/b =%' WHEN i % 3 = 1 THEN 'x' END AS k,"
        " i % 2 AS n, 'v' || i AS v FROM range(20000) t(i)"
    )
    report = slot.run(query, output=sink)

    folders = {file.path.rpartition("/")[0]: file.rows for file in report.files}
    names = ["k=a%2Fb%20%3D%25", "k=x", "k=__HIVE_DEFAULT_PARTITION__"]
    assert sorted(folders) == sorted(f"{name}/n={n}" for name in names for n in (0, 1))
    assert sum(folders.values()) == 20_000
    for file in report.files:
        assert len(read(tmp_path / "9-0-0" / file.path, "k2, v")) == file.rows
    if format_ == "parquet":
        with duckdb.connect() as kernel:
            files = f"read_parquet('{tmp_path}/9-0-0/**/*.parquet', hive_partitioning = true)"
            back = kernel.sql(f"SELECT k2, k, n, v FROM {files} ORDER BY k2").fetchall()
        assert back == expected(query)


def test_open_files_are_bounded_and_nothing_is_lost(
    slot: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sinks, "_OPEN_FILES_MAX", 2)
    slot.settings = {"kernel.batch_rows": "2048"}
    query = "SELECT i % 5 AS k, i FROM range(10000) t(i)"
    report = slot.run(query, output=SinkOutput("parquet", str(tmp_path), ("k",)))

    assert "k=0/part-00000-0-1.parquet" in {file.path for file in report.files}
    assert len({file.path for file in report.files}) == len(report.files)
    assert sum(file.rows for file in report.files) == 10_000
    found = read(tmp_path / "9-0-0" / "*" / "*.parquet", "count(DISTINCT i)::INTEGER")
    assert found == [(10_000,)]


@pytest.mark.parametrize("format_", FORMATS)
def test_an_empty_result_is_one_empty_file_with_its_columns(
    slot: Any, tmp_path: Path, format_: str
) -> None:
    sink = SinkOutput(format_, str(tmp_path))
    (file,) = slot.run(SELECT + " WHERE false", output=sink).files
    assert file.rows == 0
    if format_ != "json":
        assert read(tmp_path / "9-0-0" / file.path, "i, s, d") == []
    assert slot.run(SELECT + " WHERE false", output=sink, partition=1).files == ()


def test_types_without_a_counterpart_in_files_keep_their_values(slot: Any, tmp_path: Path) -> None:
    query = (
        "SELECT 12345678901234567890123456789::HUGEINT AS h, true AS b, '101'::BIT AS bits,"
        " '123e4567-e89b-12d3-a456-426614174000'::UUID AS u, 'b'::ENUM('a', 'b') AS e,"
        " 1.5::DECIMAL(4,1) AS d, 'x'::BLOB AS x, [{'a': true}] AS l"
    )
    (file,) = slot.run(query, output=SinkOutput("parquet", str(tmp_path))).files
    path = tmp_path / "9-0-0" / file.path
    types = "typeof(h), typeof(b), typeof(bits), typeof(u), typeof(e), typeof(d), typeof(x)"
    assert read(path, types) == [
        ("DECIMAL(38,0)", "BOOLEAN", "VARCHAR", "UUID", "VARCHAR", "DECIMAL(4,1)", "BLOB")
    ]
    same = "h::VARCHAR, b, bits, u::VARCHAR, e::VARCHAR, d::VARCHAR, x, l"
    assert read(path, same) == expected(
        f"SELECT {same.replace('bits', 'bits::VARCHAR')} FROM ({query})"
    )


def test_row_groups_and_files_have_the_sizes_that_were_asked_for(slot: Any, tmp_path: Path) -> None:
    options = {"compression": "none", "row_group_rows": "10000", "target_file_bytes": "200000"}
    sink = SinkOutput("parquet", str(tmp_path), (), options)
    report = slot.run("SELECT range AS a FROM range(105000)", output=sink)

    found = [pq.ParquetFile(tmp_path / "9-0-0" / file.path).metadata for file in report.files]
    groups = [[file.row_group(n).num_rows for n in range(file.num_row_groups)] for file in found]
    assert [rows for file in groups for rows in file] == [10_000] * 10 + [5_000]
    assert all(200_000 <= file.bytes < 400_000 for file in report.files[:-1])
    assert report.rows == (105_000,)
    # Whoever reads the files by name reads the rows in their order.
    names = sorted(file.path for file in report.files)
    assert names == [file.path for file in report.files]
    numbers = pa.concat_tables(pq.read_table(tmp_path / "9-0-0" / name) for name in names)
    assert numbers["a"].to_pylist() == list(range(105_000))


def test_a_small_slot_holds_fewer_rows_until_their_row_group_is_written(
    make_slot: Any, tmp_path: Path
) -> None:
    sink = SinkOutput("parquet", str(tmp_path))
    report = make_slot(memory_bytes=64 * MIB).run(
        "SELECT range AS a FROM range(2000000)", output=sink
    )
    (file,) = report.files
    found = pq.ParquetFile(tmp_path / "9-0-0" / file.path).metadata
    sizes = [found.row_group(number).total_byte_size for number in range(found.num_row_groups)]
    assert report.rows == (2_000_000,)
    assert len(sizes) > 2
    assert max(sizes) < 6 * MIB


def test_a_file_that_ends_with_the_last_row_has_no_empty_one_behind_it(
    slot: Any, tmp_path: Path
) -> None:
    options = {"row_group_rows": "1000", "target_file_bytes": "1"}
    sink = SinkOutput("parquet", str(tmp_path), (), options)
    report = slot.run("SELECT range AS a FROM range(3000)", output=sink)
    assert [file.rows for file in report.files] == [1000, 1000, 1000]


def test_options_reach_the_writer(slot: Any, tmp_path: Path) -> None:
    options = {"compression": "snappy"}
    (file,) = slot.run(SELECT, output=SinkOutput("parquet", str(tmp_path), (), options)).files
    column = pq.ParquetFile(tmp_path / "9-0-0" / file.path).metadata.row_group(0).column(0)
    assert column.compression == "SNAPPY"

    options = {"delimiter": ";", "header": "false"}
    sink = SinkOutput("csv", str(tmp_path), (), options)
    (file,) = slot.run("SELECT 1 AS a, ';' AS b, '' AS c, NULL AS d", output=sink, number=1).files
    assert (tmp_path / "9-0-1" / file.path).read_text() == '1;";";"";\n'


def test_a_failed_attempt_leaves_no_file(slot: Any, tmp_path: Path) -> None:
    query = (
        "SELECT i % 2 AS k, CASE WHEN i > 90000 THEN error('no') END AS e FROM range(99999) t(i)"
    )
    slot.settings = {"kernel.batch_rows": "2048"}
    staging = tmp_path / "staging"
    failure = slot.fails(query, output=SinkOutput("parquet", str(staging), ("k",)))
    assert failure.kind is FailureKind.QUERY_ERROR
    assert [path for path in staging.rglob("*") if path.is_file()] == []


def test_files_go_to_other_file_systems_through_fsspec(slot: Any) -> None:
    memory = fsspec.filesystem("memory")
    try:
        (file,) = slot.run(SELECT, output=SinkOutput("csv", "memory://sink/staging")).files
        assert memory.cat(f"/sink/staging/9-0-0/{file.path}").startswith(b"i,s,d\n0,,0.0\n1,")
    finally:
        memory.rm("/sink", recursive=True)
