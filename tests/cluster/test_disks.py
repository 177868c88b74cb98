"""Disks that lose, change or refuse bytes: found by checksums, or named."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
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


REFUSED = """
import contextlib, os, subprocess, sys
import flowgrid as fg

disk = sys.argv[1]
out, ballast = f"{disk}/out", f"{disk}/ballast"
strikes = []

def mount(*words):
    subprocess.run(["mount", *words, disk], check=True)

def becomes_full():
    with contextlib.suppress(OSError), open(ballast, "wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))

def becomes_read_only():
    mount("--bind", disk)
    mount("-o", "remount,bind,ro")

def strikes_once(event, arguments):
    if strikes and event == strikes[0][0] and strikes[0][1] in str(arguments[0]):
        strikes.pop(0)[2]()

def must_be_refused(session, why):
    try:
        session.range(1_000).write_parquet(out)
    except fg.OutputError as error:
        assert why in str(error), error
    else:
        raise SystemExit("it was published")
    assert not strikes, "nothing was refused"

def visible(folder):
    return [name for name in os.listdir(folder) if not name.startswith("_")]

mount("-t", "tmpfs", "-o", "size=4m", "tmpfs")
with fg.connect("local[1]") as session:
    sys.addaudithook(strikes_once)
    strikes.append(("open", "commit.json.tmp", becomes_full))
    must_be_refused(session, "No space left")
    assert os.listdir(disk) == ["ballast"], os.listdir(disk)
    assert os.path.getsize(ballast) > 1 << 20, "the disk was not filled"
    os.unlink(ballast)

    mount("-o", "remount,ro")
    must_be_refused(session, "Read-only")
    assert os.listdir(disk) == []
    mount("-o", "remount,rw")

    # Written, and not to be published: what is staged goes when it can.
    strikes.append(("open", "commit.json.tmp", becomes_read_only))
    must_be_refused(session, "Read-only")
    assert visible(out) == [], "part of it is there"
    subprocess.run(["umount", disk], check=True)
    session.range(1_000).write_parquet(out)
    assert sorted(session.read_parquet(out).collect()["id"].to_pylist()) == list(range(1_000))
    assert sorted(os.listdir(out))[0] == "_SUCCESS", os.listdir(out)

    # Past the commit point: it is published as soon as that can be, and once.
    strikes.append(("os.rename", "/part-", becomes_read_only))
    try:
        session.range(1_000, 2_000).write_parquet(out, mode="append")
    except fg.OutputError as error:
        assert "Read-only" in str(error), error
    else:
        raise SystemExit("a disk that is read-only was written to")
    subprocess.run(["umount", disk], check=True)
    session.range(2_000, 3_000).write_parquet(out, mode="append")
    assert sorted(session.read_parquet(out).collect()["id"].to_pylist()) == list(range(3_000))
    assert "_flowgrid" not in os.listdir(out), os.listdir(out)
"""


TWO_DISKS = """
import glob, os, subprocess, sys
import flowgrid as fg

def run(*command):
    subprocess.run(command, check=True)

what, *disks = sys.argv[1:]
for disk, size in zip(disks, ("64m", "900m")):
    run("mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", disk)
conf = {"planner.force_exchanges": "true", "executor.local_dir": ", ".join(disks)}
with fg.connect("local-cluster[1,2,512]", conf=conf) as session:
    assert session.range(1_000).repartition(8).count() == 1_000
    (bad,) = glob.glob(f"{disks[1]}/flowgrid-*/executor-1")
    if what == "full":
        with open(f"{disks[0]}/ballast", "wb") as ballast:
            ballast.write(bytes(56 << 20))
    else:
        run("mount", "--bind", bad, bad)
        run("mount", "-o", "remount,bind,ro", bad)
    rows = session.range(2_000_000).repartition(8).group_by("id").agg(fg.count().alias("n"))
    assert rows.filter(fg.col("n") == 1).count() == 2_000_000
    if what == "full":
        os.unlink(f"{disks[0]}/ballast")
    else:
        run("umount", bad)
    assert session.range(1_000).repartition(8).count() == 1_000
assert [os.listdir(disk) for disk in disks] == [[], []], list(map(os.listdir, disks))
"""


DYING_DISK = """
import fcntl, os, struct, subprocess, sys
import flowgrid as fg

SHUT_DOWN, WITHOUT_A_FLUSH = 0x8004587D, struct.pack("I", 2)  # FS_IOC_SHUTDOWN

def run(*command):
    subprocess.run(command, check=True)

image, *disks = sys.argv[1:]
run("mount", "-t", "tmpfs", "-o", "size=900m", "tmpfs", disks[0])
os.truncate(os.open(image, os.O_CREAT | os.O_RDWR), 256 << 20)
run("mkfs.ext4", "-q", "-F", image)
run("mount", "-o", "loop", image, disks[1])
os.rmdir(f"{disks[1]}/lost+found")
conf = {"planner.force_exchanges": "true", "executor.local_dir": ", ".join(disks)}
with fg.connect("local-cluster[1,2,512]", conf=conf) as session:
    batches = session.range(400_000).repartition(16).iter_batches()
    read = next(batches)["id"].to_pylist()
    on_both = [sum(len(files) for _, _, files in os.walk(disk)) for disk in disks]
    assert min(on_both) >= 5, on_both
    disk = os.open(disks[1], os.O_RDONLY)
    fcntl.ioctl(disk, SHUT_DOWN, WITHOUT_A_FLUSH)
    os.close(disk)
    for batch in batches:
        read += batch["id"].to_pylist()
    assert sorted(read) == list(range(400_000)), len(read)
    rows = session.range(2_000_000).repartition(8).group_by("id").agg(fg.count().alias("n"))
    assert rows.filter(fg.col("n") == 1).count() == 2_000_000
    assert session.range(1_000).repartition(8).count() == 1_000
run("umount", disks[1])
assert [os.listdir(disk) for disk in disks] == [[], []], list(map(os.listdir, disks))
"""


def small_disks() -> list[str]:
    """What a program runs under that may mount some; skips where nobody may."""
    under = ["unshare", "--user", "--map-root-user", "--mount"]
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare")
    with tempfile.TemporaryDirectory() as place:
        mount = [*under, "mount", "-t", "tmpfs", "tmpfs", place]
        refused = subprocess.run(mount, capture_output=True, text=True)
    if refused.returncode:
        pytest.skip(f"this machine lets nobody mount a small disk: {refused.stderr}")
    return under


def disks_that_die() -> list[str]:
    """What a program runs under that may mount a file system of the kind that can be shut down; skips
    where that takes more rights than there are."""
    under = ["unshare", "--mount"]
    if os.geteuid() or not all(map(shutil.which, ("unshare", "mkfs.ext4", "losetup"))):
        pytest.skip("only root can mount ext4, and not without its tools")
    refused = subprocess.run([*under, "losetup", "--find"], capture_output=True, text=True)
    if refused.returncode:
        pytest.skip(f"this machine has no loop device for us: {refused.stderr}")
    return under


def test_a_full_disk_is_named_and_the_next_job_finds_room(
    premises: Premises, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with Driver(FULL_DISK, premises, str(disk), under=small_disks()) as driver:
        assert driver.process.wait(timeout=60) == 0, driver.output
        premises.require_empty()


def test_output_that_the_disk_refuses_is_an_error_by_name_and_is_published_whole_or_not(
    premises: Premises, tmp_path: Path
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with Driver(REFUSED, premises, str(disk), under=small_disks()) as driver:
        assert driver.process.wait(timeout=60) == 0, driver.output
        premises.require_empty()


@pytest.mark.parametrize("what", ["full", "bad"])
def test_with_one_of_two_disks_gone_an_executor_works_on_the_other(
    premises: Premises, tmp_path: Path, what: str
) -> None:
    disks = [tmp_path / "one", tmp_path / "two"]
    for disk in disks:
        disk.mkdir()
    with Driver(TWO_DISKS, premises, what, *map(str, disks), under=small_disks()) as driver:
        assert driver.process.wait(timeout=90) == 0, driver.output
        assert ("Read-only file system" in driver.output) == (what == "bad"), driver.output
        assert ("/executor-1 is excluded: " in driver.output) == (what == "bad"), driver.output
        premises.require_empty()


def test_a_disk_that_dies_with_blocks_on_it_costs_these_and_is_not_written_to_again(
    premises: Premises, tmp_path: Path
) -> None:
    """Every open, read and write there is an EIO, from one moment to the next."""
    disks = [tmp_path / "one", tmp_path / "two"]
    for disk in disks:
        disk.mkdir()
    places = (str(tmp_path / "image"), *map(str, disks))
    with Driver(DYING_DISK, premises, *places, under=disks_that_die()) as driver:
        assert driver.process.wait(timeout=90) == 0, driver.output
        assert "Input/output error" in driver.output
        assert "/executor-1 is excluded: " in driver.output
        premises.require_empty()
