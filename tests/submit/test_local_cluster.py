"""The life of a local cluster, with real processes: it never outlives its driver."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import msgspec
import psutil
import pytest

from flowgrid.config import MIB, Config
from flowgrid.errors import ConfigError, ConnectError
from flowgrid.submit.child_output import ChildOutput
from flowgrid.submit.child_python import child_environment, python_module
from flowgrid.submit.client import JobClient
from flowgrid.submit.leftovers import remove_stale
from flowgrid.submit.local_cluster import LocalCluster
from flowgrid.submit.master import LocalMaster
from tests.cluster.deadlines import eventually

COVERS = ["child_output", "child_python"]

TWO_EXECUTORS = LocalMaster(2, 1, 1, 256 * MIB)

DRIVER = """
import sys, time
from flowgrid.config import Config
from flowgrid.submit.local_cluster import LocalCluster
from flowgrid.submit.child_output import ChildOutput
from flowgrid.submit.child_python import child_environment, python_module
from flowgrid.submit.client import JobClient
from flowgrid.submit.master import LocalMaster

config = Config(executor_local_dir={local_dir!r})
cluster = LocalCluster.start(LocalMaster(1, 1, 1, 1 << 28), config)
client = JobClient.open(cluster.control_address, None, config, "test", cluster.failure)
client.wait_for_slots(1)
{then}
print(*cluster.pids.values(), flush=True)
time.sleep(600)
"""


@pytest.fixture
def config() -> Iterator[Config]:
    """With a short place for sockets that is empty at the end."""
    with tempfile.TemporaryDirectory(prefix="fg") as folder:
        yield Config(executor_local_dir=folder)
        assert os.listdir(folder) == []


def start_driver(config: Config, then: str = "") -> tuple[subprocess.Popen[str], list[int]]:
    """A driver with a cluster; its process, and the processes of the cluster with their slots."""
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    driver = subprocess.Popen(
        [sys.executable, "-c", DRIVER.format(then=then, local_dir=config.executor_local_dir)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert driver.stdout is not None
    pids = [int(pid) for pid in driver.stdout.readline().split()]
    assert len(pids) == 2
    slots = [child.pid for pid in pids for child in psutil.Process(pid).children(recursive=True)]
    return driver, pids + slots


def alive(pids: list[int]) -> list[int]:
    return [pid for pid in pids if is_alive(pid)]


def is_alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def is_empty(folder: str) -> bool:
    return not os.listdir(folder)


@pytest.mark.cluster
def test_a_closed_cluster_leaves_nothing(config: Config) -> None:
    cluster = LocalCluster.start(TWO_EXECUTORS, config)
    with JobClient.open(cluster.control_address, None, config, "t", cluster.failure) as client:
        assert client.wait_for_slots(2) == 2
        assert cluster.failure() is None
    assert cluster.directory.stat().st_mode & 0o777 == 0o700

    cluster.close()

    assert alive(list(cluster.pids.values())) == []
    assert not cluster.directory.exists()
    cluster.close()  # again is fine


@pytest.mark.cluster
def test_a_cluster_that_is_closed_at_once_leaves_nothing(config: Config) -> None:
    cluster = LocalCluster.start(TWO_EXECUTORS, config)

    cluster.close()

    assert alive(list(cluster.pids.values())) == []
    assert not cluster.directory.exists()


@pytest.mark.cluster
@pytest.mark.parametrize("signal_", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_that_is_killed_takes_everything_with_it(
    signal_: signal.Signals, config: Config
) -> None:
    driver, pids = start_driver(config)
    with driver:
        assert alive(pids) == pids

        driver.send_signal(signal_)

    eventually("all processes are gone", lambda: not alive(pids), 5.0, lambda: alive(pids))
    eventually("the directory is gone", lambda: is_empty(config.executor_local_dir), 5.0)


@pytest.mark.cluster
def test_a_driver_that_dies_after_its_scheduler_leaves_nothing(config: Config) -> None:
    """Nobody but an executor is left who could clear up after them."""
    driver, pids = start_driver(config)
    with driver:
        driver.send_signal(signal.SIGSTOP)
        (scheduler,) = [p for p in pids if "flowgrid_scheduler" in psutil.Process(p).cmdline()]
        os.kill(scheduler, signal.SIGKILL)
        driver.kill()

    eventually("all processes are gone", lambda: not alive(pids), 5.0, lambda: alive(pids))
    eventually("the directory is gone", lambda: is_empty(config.executor_local_dir), 5.0)


@pytest.mark.cluster
@pytest.mark.parametrize("survivor", ["flowgrid_executor", "flowgrid_scheduler"])
def test_whoever_is_left_clears_up_on_every_disk(survivor: str, tmp_path: Path) -> None:
    disks = [tmp_path / "one", tmp_path / "two"]
    for disk in disks:
        disk.mkdir()
    driver, pids = start_driver(Config(executor_local_dir=",".join(map(str, disks))))
    with driver:
        assert [len(list(disk.glob("flowgrid-*/executor-1"))) for disk in disks] == [1, 1]
        driver.send_signal(signal.SIGSTOP)
        for pid in pids[:2]:  # the rest are theirs
            if survivor not in psutil.Process(pid).cmdline():
                os.kill(pid, signal.SIGKILL)
        driver.kill()

    eventually("all processes are gone", lambda: not alive(pids), 30.0, lambda: alive(pids))
    for disk in disks:
        eventually("its directory is gone", partial(is_empty, str(disk)), 30.0)


@pytest.mark.cluster
def test_a_forked_child_of_the_program_does_not_keep_the_cluster(config: Config) -> None:
    fork = (
        "import multiprocessing\n"
        "child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(30,))\n"
        "child.start()\n"
        "(cluster.directory.parent / 'child').write_text(str(child.pid))"
    )
    driver, pids = start_driver(config, then=fork)
    note = Path(config.executor_local_dir, "child")
    forked = psutil.Process(int(note.read_text()))
    note.unlink()
    with driver:
        driver.kill()

    eventually("all processes are gone", lambda: not alive(pids), 5.0, lambda: alive(pids))
    eventually("the directory is gone", lambda: is_empty(config.executor_local_dir), 5.0)
    assert forked.is_running()
    forked.kill()


@pytest.mark.cluster
def test_a_scheduler_that_is_killed_is_noticed(config: Config) -> None:
    cluster = LocalCluster.start(TWO_EXECUTORS, config)
    try:
        os.kill(cluster.pids["scheduler"], signal.SIGKILL)

        assert "scheduler of the local cluster has ended (SIGKILL)" in str(
            eventually("it is noticed", cluster.failure)
        )
    finally:
        cluster.close()


@pytest.mark.cluster
def test_a_scheduler_that_is_killed_is_started_again_but_not_for_ever(config: Config) -> None:
    master = msgspec.structs.replace(TWO_EXECUTORS, scheduler_restarts=True)
    cluster = LocalCluster.start(master, config)
    try:
        killed = set()
        with JobClient.open(cluster.control_address, None, config, "t", cluster.trouble) as client:
            for _ in range(5):
                client.wait_for_slots(2)
                killed.add(pid := cluster.pids["scheduler"])
                os.kill(pid, signal.SIGKILL)
                eventually("there is another", lambda: cluster.pids["scheduler"] not in killed)
            os.kill(cluster.pids["scheduler"], signal.SIGKILL)
            with pytest.raises(ConnectError, match="scheduler of the local cluster has ended"):
                client.submit("q", (), complete=True).next_event(20)
    finally:
        cluster.close()


@pytest.mark.cluster
def test_a_scheduler_that_dies_while_one_looks_is_started_again(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    master = msgspec.structs.replace(TWO_EXECUTORS, scheduler_restarts=True)
    cluster = LocalCluster.start(master, config)
    executor, scheduler = (cluster._children[name] for name in ("executor-1", "scheduler"))
    look = executor.poll

    def look_while_the_scheduler_dies() -> int | None:
        if cluster.pids["scheduler"] == scheduler.pid:
            scheduler.kill()
            scheduler.wait()
        return look()

    try:
        monkeypatch.setattr(executor, "poll", look_while_the_scheduler_dies)
        assert cluster.trouble() is None, "it could be started again, and was"
        assert cluster.pids["scheduler"] != scheduler.pid
    finally:
        cluster.close()


@pytest.mark.cluster
def test_a_killed_executor_is_the_schedulers_business(config: Config) -> None:
    cluster = LocalCluster.start(TWO_EXECUTORS, config)
    try:
        with JobClient.open(cluster.control_address, None, config, "t", cluster.failure) as client:
            client.wait_for_slots(2)
            os.kill(cluster.pids["executor-1"], signal.SIGKILL)

            assert eventually("the slots are gone", lambda: client.slots == 1)
            assert cluster.failure() is None
    finally:
        cluster.close()


@pytest.mark.cluster
def test_a_child_that_cannot_start_says_why(
    config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "flowgrid_executor").mkdir()
    (tmp_path / "flowgrid_executor/__init__.py").write_text("raise ImportError('broken install')")
    monkeypatch.syspath_prepend(tmp_path)
    cluster = LocalCluster.start(TWO_EXECUTORS, config)
    try:
        reason = str(eventually("it is noticed", cluster.failure))
        assert re.match(r"executor-[12] of the local cluster has ended \(exit code 1\)", reason)
        eventually("its words arrive", lambda: "broken install" in str(cluster.failure()))
    finally:
        cluster.close()


def test_the_directory_of_a_dead_cluster_is_removed_and_that_of_a_living_one_is_not(
    config: Config,
) -> None:
    folder = Path(config.executor_local_dir)
    dead = folder / "flowgrid-dead"
    (dead / "executor-1").mkdir(parents=True)
    (dead / "driver.lock").touch()
    other = folder / "flowgrid-of-somebody-else"
    other.mkdir()
    link = folder / "flowgrid-link"
    link.symlink_to(other)
    cluster = LocalCluster.start(LocalMaster(1, 1, 1, 256 * MIB), config)
    try:
        remove_stale(folder)

        assert not dead.exists()
        assert cluster.directory.exists()
        assert other.exists()
    finally:
        cluster.close()
        link.unlink()
        other.rmdir()


@pytest.mark.cluster
def test_a_long_path_is_no_problem(tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    config = Config(executor_local_dir=str(folder))
    cluster = LocalCluster.start(LocalMaster(1, 1, 1, 256 * MIB), config)
    try:
        with JobClient.open(cluster.control_address, None, config, "t", cluster.failure) as client:
            assert client.wait_for_slots(1) == 1
    finally:
        cluster.close()
    assert is_empty(str(folder))


def test_a_place_that_does_not_exist_is_named(tmp_path: Path) -> None:
    config = Config(executor_local_dir=str(tmp_path / "nowhere"))

    with pytest.raises(ConfigError, match="nowhere"):
        LocalCluster.start(TWO_EXECUTORS, config)


def test_what_children_print_reaches_the_drivers_standard_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = ChildOutput()
    program = "import sys; print('to stdout'); print('to stderr', file=sys.stderr, end='')"
    child = subprocess.Popen(
        [sys.executable, "-c", program], stdout=output.writer, stderr=output.writer
    )
    output.start()
    output.close_writer()
    assert child.wait(20) == 0

    assert sorted(output.last_lines(wait_s=10).splitlines()) == ["to stderr", "to stdout"]
    out, err = capsys.readouterr()
    assert (out, sorted(err.splitlines())) == ("", ["to stderr", "to stdout"])


def test_a_child_finds_the_modules_of_the_program_and_nothing_of_its_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "program").mkdir()
    (tmp_path / "program/beside.py").write_text("print('found')")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/json.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.syspath_prepend(tmp_path / "program")

    child = subprocess.run(
        python_module("beside"),
        env=child_environment(),
        cwd=tmp_path / "elsewhere",
        capture_output=True,
        text=True,
        timeout=20,
    )

    assert (child.stdout, child.stderr) == ("found\n", "")
