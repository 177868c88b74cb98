"""Frames to files and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pytest

import flowgrid as fg
from flowgrid.api.session import Session

COVERS = ["driver_files"]

ROWS: list[dict[str, Any]] = [{"k": "x", "a": 1}, {"k": "y/z", "a": 2}, {"k": None, "a": 3}]


@pytest.mark.parametrize("format", ["parquet", "csv", "json"])
def test_what_was_written_is_read_again(session: Session, tmp_path: Path, format: str) -> None:
    getattr(session.from_pylist(ROWS), f"write_{format}")(tmp_path / "out")

    found = getattr(session, f"read_{format}")(tmp_path / "out")

    assert found.sort("a").to_pylist() == ROWS
    assert (tmp_path / "out" / "_SUCCESS").exists()


def test_existing_output_is_protected_unless_told(session: Session, tmp_path: Path) -> None:
    frame, path = session.from_pylist(ROWS), tmp_path / "out"
    frame.write_parquet(path)

    with pytest.raises(fg.OutputExistsError, match="is not empty"):
        frame.write_parquet(path)
    frame.write_parquet(path, mode="append")
    assert session.read_parquet(path).count() == 6
    frame.limit(1).write_parquet(path, mode="overwrite")
    assert session.read_parquet(path).count() == 1


def test_mistakes_are_found_before_anything_runs(session: Session, tmp_path: Path) -> None:
    frame, path = session.from_pylist(ROWS), tmp_path / "out"

    with pytest.raises(fg.ColumnNotFoundError, match="partition_by"):
        frame.write_parquet(path, partition_by="kk")
    with pytest.raises(fg.PlanError, match="none is left"):
        frame.write_parquet(path, partition_by=["k", "a"])
    with pytest.raises(fg.ConfigError, match="overwrit'"):
        frame.write_parquet(path, mode="overwrit")  # type: ignore[arg-type]
    with pytest.raises(fg.PlanError, match="row_group_rows=0 must be at least 1"):
        frame.write_parquet(path, row_group_rows=0)
    with pytest.raises(fg.PlanError, match=r"target_file_bytes='big'.*no size"):
        frame.write_parquet(path, target_file_bytes="big")
    with pytest.raises(fg.PlanError, match="memory: takes no target_file_bytes"):
        frame.write_parquet("memory://writing/out", target_file_bytes="64k")
    assert not path.exists()


def test_a_failed_job_leaves_nothing(session: Session, tmp_path: Path) -> None:
    frame = session.from_pylist(ROWS).select(fg.sql_expr("error('no') AS e"))

    with pytest.raises(Exception, match="no"):
        frame.write_parquet(tmp_path / "a" / "b")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("format", "options"),
    [("parquet", {"compression": "snappy"}), ("csv", {"delimiter": "|"}), ("json", {}),
     ("ipc", {"compression": "zstd"})],
)  # fmt: skip
def test_memory_files_are_written_by_the_driver(
    session: Session, format: str, options: dict[str, Any]
) -> None:
    files = fsspec.filesystem("memory")
    try:
        getattr(session.from_pylist(ROWS), f"write_{format}")("memory://writing/out", **options)
        found = getattr(session, f"read_{format}")("memory://writing/out")

        assert found.sort("a").to_pylist() == ROWS
        with pytest.raises(fg.OutputExistsError):
            session.range(3).write_csv("memory://writing/out")
    finally:
        files.rm("/writing", recursive=True)


def test_memory_files_may_be_partitioned(session: Session) -> None:
    files = fsspec.filesystem("memory")
    try:
        session.from_pylist(ROWS).write_parquet("memory://writing/out", partition_by="k")

        folders = {path.split("/")[3] for path in files.find("/writing/out")}
        assert folders == {"_SUCCESS", "k=x", "k=y%2Fz", "k=__HIVE_DEFAULT_PARTITION__"}
        assert session.read_parquet("memory://writing/out").sort("a").select("k").to_pylist() == [
            {"k": "x"},
            {"k": "y/z"},
            {"k": None},
        ]
    finally:
        files.rm("/writing", recursive=True)
