"""Disks that lose, change or refuse bytes: found by checksums, or named."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import flowgrid as fg
from tests.cluster.census import Premises
from tests.cluster.drivers import Driver

pytestmark = pytest.mark.xdist_group("disks")

ROWS = 400_000


@pytest.fixture(scope="module")
def session(shared_premises: Premises) -> Iterator[fg.Session]:
    with fg.connect("local-cluster[2,1,1024]", conf={"planner.force_exchanges": "true"}) as opened:
        yield opened


def flip_a_bit(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)[0]
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte ^ 1]))


def cut_off(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def block_files(premises: Premises) -> list[Path]:
    return sorted(premises.folder.glob("flowgrid-*/executor-*/job-*/**/*"))


@pytest.mark.parametrize("damage", [flip_a_bit, cut_off, os.remove])
def test_a_damaged_block_is_computed_again(
    session: fg.Session, shared_premises: Premises, damage: Callable[[Path], None]
) -> None:
    shuffled = session.range(ROWS).repartition(4).with_columns((fg.col("id") * 2).alias("twice"))
    batches = shuffled.iter_batches()
    read = next(batches).to_pylist()
    # The first file is open; the last one is not yet.
    before = block_files(shared_premises)
    damage(max(path for path in before if path.is_file()))
    computed_again = set()
    for batch in batches:
        computed_again |= set(block_files(shared_premises)) - set(before)
        read += batch.to_pylist()
    assert computed_again, "nobody noticed"
    assert len(read) == ROWS
    assert sorted(row["id"] for row in read) == list(range(ROWS))
    assert all(row["twice"] == 2 * row["id"] for row in read)
    assert session.range(1_000).count() == 1_000


FULL_DISK = """
import os, subprocess, sys
import flowgrid as fg
from tests.cluster.deadlines import eventually

disk = sys.argv[1]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", disk], check=True)
conf = {"planner.force_exchanges": "true", "executor.local_dir": disk}
with fg.connect("local-cluster[2,1,512]", conf=conf) as session:
    assert session.range(1_000).repartition(2).count() == 1_000
    try:
        session.range(20_000_000).repartition(4).group_by("id").agg(fg.count().alias("n")).count()
    except fg.errors.JobError as error:
        assert error.kind == "disk_full", (error.kind, error)
    else:
        raise SystemExit("a disk of 24 MB holds 160 MB")
    assert session.range(1_000).repartition(2).count() == 1_000
    try:
        session.range(20_000_000).repartition(2).write_parquet(f"{disk}/out")
    except fg.errors.JobError as error:
        assert error.kind == "disk_full", (error.kind, error)
    else:
        raise SystemExit("a disk of 24 MB holds 80 MB")
    assert not os.path.exists(f"{disk}/out"), "something of a failed write is there"
    def is_free():
        disk_now = os.statvfs(disk)
        return disk_now.f_bavail > 0.8 * disk_now.f_blocks
    eventually("the space is given back", is_free, explain=lambda: list(os.walk(disk)))
assert os.listdir(disk) == [], os.listdir(disk)
"""


def test_a_full_disk_is_named_and_the_next_job_finds_room(
    premises: Premises, tmp_path: Path
) -> None:
    unshare = shutil.which("unshare")
    mounts = ["unshare", "--user", "--map-root-user", "--mount"]
    refused = unshare is None or subprocess.run(
        [*mounts, "mount", "-t", "tmpfs", "tmpfs", str(tmp_path)], capture_output=True, text=True
    )
    if isinstance(refused, bool) or refused.returncode:
        pytest.skip(f"this machine lets nobody mount a small disk: {refused}")
    disk = tmp_path / "disk"
    disk.mkdir()
    with Driver(FULL_DISK, premises, str(disk), under=mounts) as driver:
        assert driver.process.wait(timeout=60) == 0, driver.output
        premises.require_empty()
