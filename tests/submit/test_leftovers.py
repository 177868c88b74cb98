"""What may be removed from a folder that others use as well."""

from __future__ import annotations

import os
import time
from pathlib import Path

from flowgrid.submit.leftovers import remove_stale


def test_a_young_directory_without_a_lock_may_be_about_to_be_locked(tmp_path: Path) -> None:
    young = tmp_path / "flowgrid-executor-1-ab"
    young.mkdir()
    assert remove_stale(tmp_path) == []
    long_ago = time.time() - 3600
    os.utime(young, (long_ago, long_ago))
    assert remove_stale(tmp_path, dry_run=True) == [young]
    assert remove_stale(tmp_path) == [young]
    assert list(tmp_path.iterdir()) == []


def test_links_and_files_and_other_names_stay(tmp_path: Path) -> None:
    target = tmp_path / "mine"
    target.mkdir()
    (tmp_path / "flowgrid-link").symlink_to(target)
    (tmp_path / "flowgrid-file").touch()
    before = sorted(tmp_path.iterdir())
    assert remove_stale(tmp_path) == []
    assert sorted(tmp_path.iterdir()) == before


def test_a_folder_that_is_not_there_has_nothing(tmp_path: Path) -> None:
    assert remove_stale(tmp_path / "nowhere") == []
