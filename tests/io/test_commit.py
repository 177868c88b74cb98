"""Output is there all at once or not at all, whenever the driver dies."""

from __future__ import annotations

import json
import os
import posixpath
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from flowgrid.errors import ConfigError, OutputBusyError, OutputExistsError
from flowgrid.ids import AttemptId
from flowgrid.io import commit, listing, staging_owner
from flowgrid.io.commit import Staging
from flowgrid.protocol.reports import WrittenFile

Files = list[tuple[AttemptId, WrittenFile]]


def write(staging: Staging, *paths: str) -> Files:
    """What the attempts of a job with one file each would leave."""
    written = []
    for partition, path in enumerate(paths):
        attempt = AttemptId(7, 0, partition, 1)
        full = Path(staging.url, commit.attempt_folder(attempt), path)
        full.parent.mkdir(parents=True)
        full.write_text(path)
        written.append((attempt, WrittenFile(path, 1, len(path))))
    return written


def visible(folder: Path) -> list[str]:
    """Everything below a folder, without tokens in names."""
    found = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    return [path.split("-")[0] + posixpath.splitext(path)[1] for path in found]


def publish(folder: Path, mode: str, *paths: str) -> None:
    staging = commit.prepare(str(folder), mode)
    commit.commit(staging, write(staging, *paths), mode)


def test_files_appear_under_final_names_with_a_success_mark_and_nothing_else(
    tmp_path: Path,
) -> None:
    output = tmp_path / "a" / "b"

    publish(output, "error", "part-0.csv", "k=1/part-0.csv")

    assert visible(output) == ["_SUCCESS", "k=1/part.csv", "part.csv"]


def publish_for(run: str, publication: str, folder: Path, mode: str) -> None:
    """A write of a run whose drivers may die."""
    staging = commit.prepare(str(folder), mode, run)
    commit.commit(staging, write(staging, "part-0.csv"), mode, publication)


@pytest.mark.parametrize("mode", commit.MODES)
def test_what_an_earlier_driver_of_the_run_has_published_is_not_published_again(
    tmp_path: Path, mode: str
) -> None:
    first = commit.run_tag("nightly") + "1"
    publish_for("nightly", first, tmp_path, mode)
    before = relative_files(tmp_path)
    publish_for("nightly", first, tmp_path, mode)
    assert relative_files(tmp_path) == before, "and no staging place is left"


def test_another_write_of_the_run_and_the_next_run_append(tmp_path: Path) -> None:
    tag, other = commit.run_tag("nightly"), commit.run_tag("daily")
    for run, publication in (
        ("nightly", tag + "1"),
        ("nightly", tag + "2"),
        ("daily", other + "1"),
    ):
        publish_for(run, publication, tmp_path, "append")
    assert visible(tmp_path) == ["_SUCCESS", "part.csv", "part.csv", "part.csv"]


def test_another_write_of_the_run_does_not_find_its_output_empty(tmp_path: Path) -> None:
    tag = commit.run_tag("nightly")
    publish_for("nightly", tag + "1", tmp_path, "error")
    with pytest.raises(OutputExistsError):
        publish_for("nightly", tag + "2", tmp_path, "error")


def test_a_commit_that_was_begun_and_not_finished_counts_as_published(tmp_path: Path) -> None:
    name = commit.run_tag("nightly") + "1"
    mine = commit.prepare(str(tmp_path), "append", "nightly")
    files = write(mine, "part-0.csv")
    died = commit.prepare(str(tmp_path), "append", "nightly")
    write(died, "part-0.csv")
    folder = posixpath.join("_flowgrid", died.token, commit.attempt_folder(files[0][0]))
    renames = [[posixpath.join(folder, "part-0.csv"), f"part-0-{name}.csv"]]
    manifest = json.dumps({"renames": renames, "removals": []})
    Path(died.url, listing.MANIFEST).write_text(manifest)

    commit.commit(mine, files, "append", name)
    commit.resume(str(tmp_path))
    assert died.claim is not None
    died.claim.release()
    commit.resume(str(tmp_path))

    assert relative_files(tmp_path) == ["_SUCCESS", f"part-0-{name}.csv"]


def test_nothing_is_visible_before_the_commit(tmp_path: Path) -> None:
    staging = commit.prepare(str(tmp_path), "error")
    write(staging, "part-0.csv")

    assert all(path.parts[0] == "_flowgrid" for path in map(Path, relative_files(tmp_path)))


def relative_files(folder: Path) -> list[str]:
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_existing_output_is_protected_before_any_work_and_again_at_commit(tmp_path: Path) -> None:
    staging = commit.prepare(str(tmp_path), "error")
    files = write(staging, "part-0.csv")
    (tmp_path / "other.csv").touch()

    with pytest.raises(OutputExistsError, match=r"other\.csv"):
        commit.prepare(str(tmp_path), "error")
    with pytest.raises(OutputExistsError):
        commit.commit(staging, files, "error")
    with pytest.raises(OutputExistsError, match="holds other"):
        commit.prepare(str(tmp_path / "other.csv"), "error")


def test_appending_never_collides(tmp_path: Path) -> None:
    publish(tmp_path, "error", "part-0.csv")
    publish(tmp_path, "append", "part-0.csv")

    assert visible(tmp_path) == ["_SUCCESS", "part.csv", "part.csv"]


def test_overwriting_removes_old_files_and_partitions(tmp_path: Path) -> None:
    publish(tmp_path, "error", "k=1/part-0.csv", "k=2/part-0.csv")
    publish(tmp_path, "overwrite", "k=2/part-0.json")

    assert visible(tmp_path) == ["_SUCCESS", "k=2/part.json"]
    assert not (tmp_path / "k=1").exists()


def test_an_aborted_job_leaves_not_even_its_directories(tmp_path: Path) -> None:
    staging = commit.prepare(str(tmp_path / "a" / "b"), "error")
    write(staging, "part-0.csv")

    commit.abort(staging)

    assert list(tmp_path.iterdir()) == []


def test_aborting_keeps_what_others_have(tmp_path: Path) -> None:
    publish(tmp_path, "error", "part-0.csv")
    staging = commit.prepare(str(tmp_path), "append")
    write(staging, "part-0.csv")

    commit.abort(staging)

    assert visible(tmp_path) == ["_SUCCESS", "part.csv"]


def test_a_result_without_files_is_an_empty_directory_that_succeeded(tmp_path: Path) -> None:
    publish(tmp_path / "a", "error")

    assert visible(tmp_path / "a") == ["_SUCCESS"]


TWO_DRIVERS = """
import os, sys, time
from pathlib import Path
from flowgrid.errors import OutputExistsError
from flowgrid.io import commit
from tests.io.test_commit import write

for number in range(12):
    folder = Path(sys.argv[1], str(number))
    begin = time.time() + 0.02
    children = []
    for driver in range(2):
        child = os.fork()
        if not child:
            try:
                staging = commit.prepare(str(folder), sys.argv[2], "nightly")
            except OutputExistsError:  # the other was that much faster
                os._exit(0)
            files = write(staging, "k=1/part-0.csv", "part-1.csv")
            time.sleep(max(0.0, begin - time.time()))
            try:
                commit.commit(staging, files, sys.argv[2], sys.argv[3])
            except OutputExistsError:
                commit.abort(staging)
            os._exit(0)
        children.append(child)
    for child in children:
        assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.parametrize("mode", commit.MODES)
@pytest.mark.parametrize("what", ["the same write of one run", "writes of their own"])
def test_of_two_drivers_that_commit_at_the_same_moment_one_comes_first(
    tmp_path: Path, mode: str, what: str
) -> None:
    """An earlier driver was taken for lost, and was only slow; or two programs have the same output."""
    publication = commit.run_tag("nightly") + "1" if what == "the same write of one run" else ""
    command = [sys.executable, "-c", TWO_DRIVERS, str(tmp_path), mode, publication]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])

    count = 2 if mode == "append" and not publication else 1
    wanted = ["_SUCCESS", *["k=1/part.csv"] * count, *["part.csv"] * count]
    assert {tuple(visible(folder)) for folder in tmp_path.iterdir()} == {tuple(wanted)}


def test_who_has_begun_to_publish_and_stands_still_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging_owner, "TURN_TIMEOUT_S", 0.05)
    again = pytest.raises(OutputBusyError, match="end it, and run this one again")
    with staging_owner.turn(str(tmp_path)), again, staging_owner.turn(str(tmp_path)):
        pass
    with staging_owner.turn(str(tmp_path)):
        pass


def test_an_unknown_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="overwrit'"):
        commit.prepare(str(tmp_path), "overwrit")


COMMITS_KILLED_AT_EVERY_STEP = """
import os, sys
from tests.io.test_commit import publish, write
from flowgrid.io import commit
from pathlib import Path

def die_at(last):
    steps = iter(range(last))
    def hook(event, arguments):
        writes = event == "open" and isinstance(arguments[1], str) and "w" in arguments[1]
        if writes or event in ("os.rename", "os.remove", "os.rmdir", "os.mkdir"):
            if next(steps, None) is None:
                os.kill(os.getpid(), 9)
    sys.addaudithook(hook)

for step in range(100):
    folder = Path(sys.argv[1], str(step))
    publish(folder, "error", "k=1/part-0.csv")
    child = os.fork()
    if not child:
        staging = commit.prepare(str(folder), sys.argv[2])
        files = write(staging, "k=2/part-0.csv", "k=3/part-0.csv", "part-1.csv")
        die_at(step)
        commit.commit(staging, files, sys.argv[2])
        os._exit(0)
    if os.waitpid(child, 0)[1] == 0:
        sys.exit()
"""


@pytest.mark.parametrize("mode", ["append", "overwrite"])
def test_killed_at_any_step_output_is_the_old_or_after_resume_the_new(
    tmp_path: Path, mode: str
) -> None:
    old = ["_SUCCESS", "k=1/part.csv"]
    added = ["k=2/part.csv", "k=3/part.csv", "part.csv"]
    new = sorted([*old, *added] if mode == "append" else ["_SUCCESS", *added])
    command = [sys.executable, "-c", COMMITS_KILLED_AT_EVERY_STEP, str(tmp_path), mode]
    subprocess.run(command, check=True, cwd=Path(__file__).parents[2])

    outcomes = []
    for step in range(len(list(tmp_path.iterdir()))):
        folder = tmp_path / str(step)
        begun = bool(list(folder.glob("_flowgrid/*/commit.json")))
        before = [path for path in visible(folder) if not path.startswith("_flowgrid")]

        commit.resume(str(folder))
        commit.resume(str(folder))  # finishing what is finished does nothing

        after = visible(folder)
        assert after in (old, new), step
        assert after == new or before == old, "before the commit point nothing is visible"
        assert after == new or not begun, "past the commit point everything appears"
        assert not (folder / "_flowgrid").exists()
        outcomes.append(after == new)
    assert outcomes == sorted(outcomes), "there is one commit point"
    assert len(set(outcomes)) == 2
    assert len(outcomes) > 15


def test_the_next_job_finishes_an_interrupted_commit(tmp_path: Path) -> None:
    staging = commit.prepare(str(tmp_path), "error")
    write(staging, "part-0.csv")
    source = f"_flowgrid/{staging.token}/0-0-1/part-0.csv"
    manifest = {"renames": [[source, "part-0-x.csv"]], "removals": []}
    Path(staging.url, "commit.json").write_text(json.dumps(manifest))
    assert staging.claim is not None
    staging.claim.release()  # as the system does when its process dies

    commit.abort(commit.prepare(str(tmp_path), "append"))

    assert relative_files(tmp_path) == ["_SUCCESS", "part-0-x.csv"]


def test_the_next_job_removes_what_a_dead_one_left(tmp_path: Path) -> None:
    dead, alive = (commit.prepare(str(tmp_path), "append") for _ in range(2))
    write(dead, "part-0.csv")
    assert dead.claim is not None
    dead.claim.release()  # as the system does when its process dies

    commit.prepare(str(tmp_path), "append")

    assert not os.path.exists(dead.url)
    assert os.path.exists(alive.url)


def test_a_commit_that_has_begun_is_not_undone(tmp_path: Path) -> None:
    staging = commit.prepare(str(tmp_path), "error")
    write(staging, "part-0.csv")
    Path(staging.url, "commit.json").write_text("{}")

    commit.abort(staging)

    assert os.path.exists(posixpath.join(staging.url, "0-0-1", "part-0.csv"))


def test_other_file_systems_commit_the_same_way() -> None:
    files = fsspec.filesystem("memory")
    staging = commit.prepare("memory://commit-test/out", "error")
    attempt = AttemptId(1, 0, 0, 0)
    files.pipe_file(f"/commit-test/out/_flowgrid/{staging.token}/0-0-0/part-0.csv", b"x")
    try:
        commit.commit(staging, [(attempt, WrittenFile("part-0.csv", 1, 1))], "error")

        found = [path.removeprefix("/commit-test/out/") for path in files.find("/commit-test")]
        assert found == ["_SUCCESS", f"part-0-{staging.token}.csv"]
    finally:
        files.rm("/commit-test", recursive=True)
