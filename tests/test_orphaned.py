"""A dead driver's directory goes, and a living one's stays."""

from __future__ import annotations

import fcntl
import itertools
import threading
from pathlib import Path

import pytest

from flowgrid.orphaned import LOCK, remove_orphaned


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    directory = tmp_path / "flowgrid-0"
    (directory / "blocks").mkdir(parents=True)
    (directory / LOCK).touch()
    return directory


def test_a_dead_drivers_directory_is_removed(directory: Path) -> None:
    remove_orphaned(directory)
    assert list(directory.parent.iterdir()) == []


def test_a_driver_that_lives_keeps_its_directory(directory: Path) -> None:
    with (directory / LOCK).open("r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_orphaned(directory)
    assert (directory / "blocks").is_dir()


def test_what_no_driver_has_made_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "flowgrid-1").mkdir()
    remove_orphaned(tmp_path / "flowgrid-1")
    assert (tmp_path / "flowgrid-1").is_dir()


def test_a_directory_into_which_somebody_still_writes_goes_as_a_whole(directory: Path) -> None:
    begun = threading.Event()

    def starts_late() -> None:
        for number in itertools.count():
            try:
                (directory / str(number)).touch()
            except FileNotFoundError:
                return
            begun.set()

    late = threading.Thread(target=starts_late)
    late.start()
    begun.wait()
    remove_orphaned(directory)
    late.join()
    assert list(directory.parent.iterdir()) == []
