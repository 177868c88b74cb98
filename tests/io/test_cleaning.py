"""`clean` takes what the dead left, and nothing of the living."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from flowgrid.errors import InputError
from flowgrid.io import commit, listing
from flowgrid.io.commit import Staging
from flowgrid.io.staging_owner import OWNER_FILE
from tests.io.test_commit import relative_files, write

DAY_S = 86_400.0


def staged(folder: Path) -> Staging:
    """A job that has written a file and not committed."""
    staging = commit.prepare(str(folder), "append")
    write(staging, "part-0.csv")
    return staging


def dead(folder: Path) -> Staging:
    staging = staged(folder)
    assert staging.claim is not None
    staging.claim.release()
    return staging


def what(folder: Path, dry_run: bool = False) -> list[str]:
    return [one.what for one in commit.clean(str(folder), DAY_S, dry_run)]


def test_a_job_that_runs_is_left_alone_however_old_it_is(tmp_path: Path) -> None:
    staging = staged(tmp_path)
    grow_old(staging)
    before = relative_files(tmp_path)
    assert what(tmp_path) == ["kept"]
    assert relative_files(tmp_path) == before
    commit.commit(staging, [], "append")


def test_what_a_dead_driver_left_goes_at_once_with_the_folders_that_it_made(tmp_path: Path) -> None:
    dead(tmp_path / "a" / "b")
    assert what(tmp_path / "a" / "b") == ["removed"]
    assert list(tmp_path.iterdir()) == []


def test_output_that_is_there_stays(tmp_path: Path) -> None:
    commit.commit(commit.prepare(str(tmp_path), "error"), [], "error")
    (tmp_path / "data.csv").touch()
    dead(tmp_path)
    assert what(tmp_path) == ["removed"]
    assert relative_files(tmp_path) == ["_SUCCESS", "data.csv"]


def test_a_dry_run_says_the_same_and_does_nothing(tmp_path: Path) -> None:
    dead(tmp_path)
    before = relative_files(tmp_path)
    assert what(tmp_path, dry_run=True) == ["removed"]
    assert relative_files(tmp_path) == before


def test_without_knowledge_only_age_counts(tmp_path: Path) -> None:
    staging = dead(tmp_path)
    os.remove(Path(staging.url, OWNER_FILE))
    assert what(tmp_path) == ["kept"]
    grow_old(staging)
    assert what(tmp_path) == ["removed"]


def test_what_was_committed_is_finished(tmp_path: Path) -> None:
    staging = dead(tmp_path)
    source = f"_flowgrid/{staging.token}/0-0-1/part-0.csv"
    manifest = f'{{"renames": [["{source}", "part-0-x.csv"]], "removals": []}}'
    Path(staging.url, "commit.json").write_text(manifest)
    assert what(tmp_path) == ["finished"]
    assert relative_files(tmp_path) == ["_SUCCESS", "part-0-x.csv"]


def test_readers_wait_for_a_publication_and_name_one_that_does_not_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "_PUBLISHING_S", 0.1)
    (tmp_path / "old.csv").touch()
    staging = dead(tmp_path)
    Path(staging.url, "commit.json").write_text('{"renames": [], "removals": ["old.csv"]}')
    with pytest.raises(InputError, match="half published by a job that has died: `flowgrid clean"):
        listing.list_files(str(tmp_path))


def grow_old(staging: Staging) -> None:
    """As if nothing had been written for two days."""
    then = time.time() - 2 * DAY_S
    for folder, _, files in os.walk(staging.url):
        for path in (folder, *(os.path.join(folder, name) for name in files)):
            os.utime(path, (then, then))
