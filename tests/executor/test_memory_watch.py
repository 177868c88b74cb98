"""What slots really use: found in time, counted right, and free where nothing runs."""

from __future__ import annotations

import math
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from flowgrid_executor.memory_watch import GROWTH_BYTES_PER_S, LOOK_S_MAX, LOOK_S_MIN, MemoryWatch

from flowgrid.config import MIB
from flowgrid.ids import AttemptId
from tests.cluster.deadlines import eventually

ATTEMPT = AttemptId(1, 0, 0, 0)
PAGES_PER_MIB = MIB // os.sysconf("SC_PAGE_SIZE")


class Machine:
    """A folder that looks like /proc, a clock, and one slot."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = 0.0
        self.oom_kills(0)
        self.uses(100)
        self.watch = MemoryWatch(folder, lambda: self.now)
        self.watch.open(0, 10)

    def uses(self, private_mib: int, pid: int = 10, of_files_mib: int = 50) -> None:
        folder = self.folder / str(pid)
        folder.mkdir(exist_ok=True)
        pages = [n * PAGES_PER_MIB for n in (9999, private_mib + of_files_mib, of_files_mib)]
        (folder / "statm").write_text(" ".join(map(str, pages)) + " 1 0 2 0\n")

    def starts(self, child: int, parent: int) -> None:
        task = self.folder / str(parent) / "task" / str(parent)
        task.mkdir(parents=True)
        (task / "children").write_text(f"{child} ")

    def oom_kills(self, count: int) -> None:
        (self.folder / "vmstat").write_text(f"nr_free_pages 1\noom_kill {count}\n")

    def finds(self) -> list[int]:
        """MiB used by whoever uses too much, now that it is time to look."""
        self.now = self.watch.due_at
        return [found.used_bytes // MIB for found in self.watch.look()]


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.watch.close_all()


def test_nobody_looks_while_nothing_runs(machine: Machine) -> None:
    assert machine.watch.due_at == math.inf
    machine.watch.begin(0, ATTEMPT, 200 * MIB)
    assert machine.watch.due_at <= machine.now
    assert machine.watch.end(0) == 100 * MIB
    assert machine.watch.due_at == math.inf


def test_the_next_look_comes_before_the_room_that_is_left_can_be_filled(machine: Machine) -> None:
    machine.watch.begin(0, ATTEMPT, 150 * MIB)
    assert machine.finds() == []
    assert machine.watch.due_at == pytest.approx(50 * MIB / GROWTH_BYTES_PER_S)
    machine.watch.begin(0, ATTEMPT, 100 * MIB)
    assert machine.finds() == []
    assert machine.watch.due_at - machine.now == pytest.approx(LOOK_S_MIN)
    machine.watch.begin(0, ATTEMPT, 1 << 40)
    assert machine.finds() == []
    assert machine.watch.due_at - machine.now == pytest.approx(LOOK_S_MAX)


def test_who_uses_more_than_its_share_is_found_once(machine: Machine) -> None:
    machine.watch.begin(0, ATTEMPT, 150 * MIB)
    assert machine.finds() == []
    machine.uses(151)
    assert machine.finds() == [151]
    assert machine.watch.due_at == math.inf


def test_pages_of_files_are_the_systems(machine: Machine) -> None:
    machine.watch.begin(0, ATTEMPT, 150 * MIB)
    machine.uses(100, of_files_mib=4000)
    assert machine.finds() == []


def test_what_user_code_starts_counts_and_what_it_shares_counts_once(machine: Machine) -> None:
    machine.starts(child=11, parent=10)
    machine.starts(child=12, parent=11)
    machine.uses(20, pid=11)
    machine.uses(40, pid=12)
    for pid, kib in ((10, 70_000), (11, 20_000), (12, 60_000)):
        (machine.folder / str(pid) / "smaps_rollup").write_text(f"Pss_Anon:     {kib} kB\n")
    machine.watch.begin(0, ATTEMPT, 155 * MIB)
    assert machine.finds() == [], "100 + 20 + 40 is too much, but they share"
    machine.watch.begin(0, ATTEMPT, 140 * MIB)
    assert machine.finds() == [150_000 // 1024]
    machine.uses(142, pid=11)
    machine.watch.begin(0, ATTEMPT, 141 * MIB)
    assert machine.finds() == [100 + 142 + 40], "one alone is too much"


def test_a_slot_that_is_gone_uses_nothing(tmp_path: Path) -> None:
    watch = MemoryWatch()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        watch.open(0, process.pid)
        watch.begin(0, ATTEMPT, 1)
        eventually("it is found", lambda: bool(watch.look()))
        watch.begin(0, ATTEMPT, 1)
        process.kill()
    assert watch.look() == []
    assert watch.end(0) == 0
    watch.open(0, process.pid)  # whose death is not yet known
    watch.close_all()


def test_memory_of_a_forked_child_is_what_it_does_not_share() -> None:
    ballast = bytearray(b"1") * (64 * MIB)
    watch = MemoryWatch()
    watch.open(0, os.getpid())
    alone = watch.end(0)
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(60,))
    child.start()
    try:
        watch.begin(0, ATTEMPT, alone + 32 * MIB)
        assert watch.look() == []
    finally:
        child.kill()
        child.join()
        watch.close_all()
    assert len(ballast) == 64 * MIB


def test_kills_of_the_system_are_told_once(machine: Machine) -> None:
    assert not machine.watch.oom_killer_struck()
    machine.oom_kills(2)
    assert machine.watch.oom_killer_struck()
    assert not machine.watch.oom_killer_struck()


def test_a_system_that_does_not_say_is_believed_to_kill_nobody(tmp_path: Path) -> None:
    assert not MemoryWatch(tmp_path / "nothing").oom_killer_struck()
