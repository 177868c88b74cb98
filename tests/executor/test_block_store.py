from __future__ import annotations

from pathlib import Path

import pytest
from flowgrid_executor.block_store import BlockStore

from flowgrid.errors import ConfigError
from flowgrid.ids import AttemptId, JobId
from flowgrid.protocol.blocks import file_name

FIRST, TENTH = AttemptId(1, 0, 0, 1), AttemptId(1, 0, 0, 10)


def write(directory: Path, attempt: AttemptId, size: int, suffix: str = "") -> Path:
    path = directory / (file_name(attempt) + suffix)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(size))
    return path


def test_the_directory_is_ours_alone_and_goes_with_us(tmp_path: Path) -> None:
    store = BlockStore(tmp_path / "deep" / "blocks")
    assert (tmp_path / "deep" / "blocks").stat().st_mode & 0o777 == 0o700
    write(tmp_path / "deep" / "blocks", FIRST, 10)

    store.close()

    assert not (tmp_path / "deep" / "blocks").exists()


def test_a_directory_with_files_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="not empty"):
        BlockStore(tmp_path)


def test_a_cluster_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        BlockStore(tmp_path / "gone" / "blocks", parents=False)
    assert not (tmp_path / "gone").exists()


def test_bytes_are_counted_by_job_and_given_back(tmp_path: Path) -> None:
    store = BlockStore(tmp_path / "blocks")
    other = AttemptId(2, 0, 0, 0)
    for attempt, size in ((FIRST, 10), (TENTH, 20), (other, 40)):
        write(tmp_path / "blocks", attempt, size)
        store.keep(attempt)
    assert (store.bytes_held, store.job_bytes(JobId(1))) == (70, 30)

    store.drop(FIRST)
    assert (store.bytes_held, store.job_bytes(JobId(1))) == (60, 20)
    store.drop_job(JobId(1))
    assert store.bytes_held == 40
    store.drop_all()
    assert store.bytes_held == 0
    store.close()


def test_dropping_an_attempt_takes_its_leftovers_and_nobody_else_s_files(tmp_path: Path) -> None:
    store = BlockStore(tmp_path / "blocks")
    gone = [write(tmp_path / "blocks", FIRST, 1), write(tmp_path / "blocks", FIRST, 1, ".tmp")]
    kept = write(tmp_path / "blocks", TENTH, 1)

    store.drop(FIRST)

    assert not any(path.exists() for path in gone)
    assert kept.exists()
    store.close()


def test_what_was_never_written_can_be_kept_dropped_and_cleared(tmp_path: Path) -> None:
    store = BlockStore(tmp_path / "blocks")
    store.keep(FIRST)
    store.drop(FIRST)
    store.drop_job(JobId(1))
    store.clear("spill-0")
    assert store.bytes_held == 0
    store.close()


def test_a_file_is_found_counted_and_deleted_in_whichever_directory_it_is(tmp_path: Path) -> None:
    disks = [tmp_path / "one", tmp_path / "two", tmp_path / "three"]
    store = BlockStore(*disks)
    for number, disk in enumerate(disks):
        attempt = AttemptId(1, 0, number, 0)
        write(disk, attempt, 10)
        store.keep(attempt)
        assert store.holds(attempt)
    assert store.bytes_held == 30

    store.drop(AttemptId(1, 0, 1, 0))
    assert not store.holds(AttemptId(1, 0, 1, 0))
    store.drop_job(JobId(1))
    store.drop_all()

    assert not any((disk / "job-1").exists() for disk in disks)
    store.close()
    assert not list(tmp_path.iterdir())


def test_a_directory_that_is_gone_takes_nothing_else_with_it(tmp_path: Path) -> None:
    store = BlockStore(tmp_path / "one", tmp_path / "two")
    write(tmp_path / "two", FIRST, 10)
    store.keep(FIRST)
    (tmp_path / "one").rename(tmp_path / "unplugged")

    assert store.holds(FIRST)
    assert store.room()[0] == 0.0 < store.room()[1]
    store.drop(FIRST)
    store.drop_all()
    store.close()

    assert [path.name for path in tmp_path.iterdir()] == ["unplugged"]


def test_a_place_of_which_one_directory_cannot_be_made_is_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be kept in"):
        BlockStore(tmp_path / "one", tmp_path / "file" / "two")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
