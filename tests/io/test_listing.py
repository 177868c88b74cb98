"""What a path means."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowgrid.errors import InputError
from flowgrid.io.listing import list_files, local_path, protocol_of


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "b.csv", "a.csv", "day=2/c.csv", "_day=1/d.csv",
        ".hidden/e.csv", "_temporary/f.csv", "_SUCCESS", ".g.csv",
    ):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(name)
    return tmp_path


def names(root: Path, files: object) -> list[str]:
    return [str(Path(file.path).relative_to(root)) for file in list_files(files)]  # type: ignore[arg-type]


def test_a_directory_is_all_visible_files_below_it(tree: Path) -> None:
    assert names(tree, tree) == ["a.csv", "b.csv", "_day=1/d.csv", "day=2/c.csv"]


def test_a_glob_a_list_and_a_url_mean_files_too(tree: Path) -> None:
    assert names(tree, str(tree / "*.csv")) == ["a.csv", "b.csv"]
    assert names(tree, str(tree / "**/*.csv")) == ["_day=1/d.csv", "a.csv", "b.csv", "day=2/c.csv"]
    assert names(tree, [tree / "b.csv", str(tree / "a.csv")]) == ["b.csv", "a.csv"]
    assert names(tree, f"file://{tree}/a.csv") == ["a.csv"]


def test_a_name_with_wildcards_is_first_of_all_a_name(tmp_path: Path) -> None:
    (tmp_path / "a[1].csv").write_text("x")
    (tmp_path / "a1.csv").write_text("y")

    assert names(tmp_path, tmp_path / "a[1].csv") == ["a[1].csv"]


def test_a_file_is_seen_with_its_size_and_time(tree: Path) -> None:
    (file,) = list_files(tree / "a.csv")

    assert file.size == len("a.csv")
    assert file.modified_ns == (tree / "a.csv").stat().st_mtime_ns


def test_a_missing_file_offers_near_names(tree: Path) -> None:
    with pytest.raises(InputError, match=r"aa\.csv does not exist; did you mean 'a\.csv'"):
        list_files(tree / "aa.csv")
    with pytest.raises(InputError, match="neither does its directory"):
        list_files(tree / "nowhere" / "a.csv")


def test_nothing_to_read_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "_SUCCESS").touch()

    with pytest.raises(InputError, match="holds no files"):
        list_files(tmp_path)
    with pytest.raises(InputError, match="holds no files"):
        list_files(tmp_path / "*.csv")
    with pytest.raises(InputError, match="list is empty"):
        list_files([])


def test_a_home_directory_is_expanded(monkeypatch: pytest.MonkeyPatch, tree: Path) -> None:
    monkeypatch.setenv("HOME", str(tree))

    assert local_path("~/a.csv") == str(tree / "a.csv")


def test_only_other_file_systems_have_a_protocol() -> None:
    assert protocol_of("s3://bucket/key") == "s3"
    assert protocol_of("file:///a") == protocol_of("/a") == protocol_of("a") == ""


def test_an_unknown_file_system_is_an_input_error() -> None:
    with pytest.raises(InputError, match="nosuch"):
        list_files("nosuch://a/b")


def test_a_glob_may_mean_directories(tree: Path) -> None:
    assert names(tree, str(tree / "*day=*")) == ["_day=1/d.csv", "day=2/c.csv"]
