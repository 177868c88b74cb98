"""The real scheduler process over real sockets: what purity cannot promise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from flowgrid_scheduler.events import Event
from flowgrid_scheduler.journal import read_journal, replay

from flowgrid.protocol.messages import (
    AskStatus,
    AttemptStarted,
    AttemptSucceeded,
    ClusterChanged,
    ClusterStatus,
    DescribeStage,
    Fence,
    JobAccepted,
    JobSucceeded,
    KeepAlive,
    LaunchAttempts,
    OpenSession,
    SessionOpened,
    SessionRefused,
    StopExecutor,
    SubmitJob,
)
from flowgrid.protocol.reports import AttemptReport
from flowgrid.protocol.versions import local_versions
from flowgrid.transport.security import Keys, create_keys
from tests.scheduler.peers import ROOT, Driver, Executor, executor_process, scheduler
from tests.scheduler.story import maps

pytestmark = pytest.mark.cluster


def test_a_job_runs_over_real_sockets_and_its_journal_replays(tmp_path: Path) -> None:
    recorded = ("--conf", "scheduler.record_events=true")
    with scheduler(tmp_path, *recorded, owned=False) as running:
        driver, executor = Driver(running), Executor(running, "a")
        executor.registers()
        assert driver.connects().slots == 2
        driver.says(SubmitJob(1, "query", (maps(3),), True))
        job = driver.awaits(JobAccepted).job
        assert executor.awaits(DescribeStage).stage.job == job.number
        report = AttemptReport((), (1,), (8,), 5)
        for attempt in executor.awaits(LaunchAttempts).attempts:
            executor.says(AttemptStarted(attempt), AttemptSucceeded(attempt, report))
        succeeded = driver.awaits(JobSucceeded)
        assert succeeded.statistics.total_rows == 3
        driver.close()
        executor.close()
    (journal,) = tmp_path.glob("*.journal")
    events: list[Event] = [event for _, event in read_journal(journal)]
    assert events
    assert replay(journal).digest() == replay(journal).digest()
    assert replay(journal).state.jobs_submitted == 1


def test_a_killed_executor_is_noticed_within_half_a_second(tmp_path: Path) -> None:
    with scheduler(tmp_path) as running, executor_process(running, "a") as executor:
        driver = Driver(running)
        if driver.connects().executors == 0:
            assert driver.awaits(ClusterChanged).executors == 1
        killed_at = time.monotonic()
        executor.kill()
        assert driver.awaits(ClusterChanged).executors == 0
        noticed_s = time.monotonic() - killed_at
        print(f"noticed after {noticed_s:.3f} s")
        assert noticed_s < 0.5
        driver.close()


def test_a_scheduler_that_was_stopped_declares_nobody_lost(tmp_path: Path) -> None:
    flags = ("--conf", "executor.heartbeat_timeout_s=1.5", "--conf", "scheduler.driver_lease_s=1.5")
    with scheduler(tmp_path, *flags) as running, executor_process(running, "a"):
        driver = Driver(running)
        if driver.connects().executors == 0:
            driver.awaits(ClusterChanged, meanwhile=lambda: driver.says(KeepAlive()))
        running.process.send_signal(signal.SIGSTOP)
        time.sleep(3)  # nothing can be waited for: the point is that nothing happens
        running.process.send_signal(signal.SIGCONT)
        driver.says(KeepAlive(), AskStatus())
        assert len(driver.awaits(ClusterStatus).executors) == 1
        driver.close()


def test_a_silent_executor_is_fenced(tmp_path: Path) -> None:
    with scheduler(tmp_path, "--conf", "executor.heartbeat_timeout_s=0.5") as running:
        executor = Executor(running, "a")
        executor.registers()
        assert "silent" in executor.awaits(Fence).reason
        executor.close()


def test_a_heartbeat_is_answered_by_a_sign_of_life(tmp_path: Path) -> None:
    with scheduler(tmp_path) as running:
        executor = Executor(running, "a")
        executor.registers()
        executor.beats()
        assert executor.heart is not None
        assert executor.heart.poll(5_000)
        executor.close()


def test_a_lost_executor_that_is_back_and_only_beats_is_fenced_again(tmp_path: Path) -> None:
    with scheduler(tmp_path) as running:
        watcher, executor = Driver(running), Executor(running, "a")
        watcher.connects()
        executor.registers()
        executor.socket.disconnect(running.control)
        assert watcher.awaits(ClusterChanged).executors == 1
        # The connection ends when all that came over it is read.
        lost = watcher.awaits(ClusterChanged, meanwhile=executor.reads_on)
        assert lost.executors == 0
        executor.socket.connect(running.control)
        executor.received = 0  # nobody knows it, so words to it are counted anew
        executor.awaits(Fence, meanwhile=executor.beats)
        watcher.close()
        executor.close()


def test_an_observer_needs_no_session(tmp_path: Path) -> None:
    with scheduler(tmp_path) as running:
        observer = Driver(running, session="")
        observer.says(AskStatus())
        assert observer.awaits(ClusterStatus).jobs == ()
        observer.close()


def test_what_is_no_message_changes_nothing(tmp_path: Path) -> None:
    with scheduler(tmp_path) as running:
        driver = Driver(running)
        for frame in (b"", b"\x93", b"\x93\x92\xa1a", b"\xff" * 1000, b"\x93\xa1x\x00\x91\x80"):
            driver.socket.send(frame)
        driver.connects()
        driver.close()


def test_nobody_speaks_under_another_session(tmp_path: Path) -> None:
    with scheduler(tmp_path) as running:
        driver = Driver(running)
        driver.connects()
        other = Driver(running, session="6" * 32)
        other.connects()
        other.session, other.sequence = driver.session, 1
        other.says(SubmitJob(1, "stolen", (maps(1),), True))
        driver.says(AskStatus())
        assert driver.awaits(ClusterStatus).jobs == ()
        driver.close()
        other.close()


def test_a_key_opens_only_what_its_role_may_do(tmp_path: Path) -> None:
    create_keys(tmp_path / "keys")
    flags = ("--keys", str(tmp_path / "keys"))
    with scheduler(tmp_path / "state", *flags) as running:
        peers = {
            role: Driver(running, session=str(number) * 32, keys=Keys(tmp_path / "keys", role))
            for number, role in enumerate(("submitter", "observer", "executor"))
        }
        for peer in peers.values():
            peer.says(OpenSession(peer.session, "scripted driver", local_versions()))
        assert peers["submitter"].awaits(SessionOpened)
        for peer in peers.values():
            peer.sequence = 0
            peer.says(AskStatus())
        assert peers["observer"].awaits(ClusterStatus)
        assert not peers["executor"].socket.poll(300)
        for peer in peers.values():
            assert not any(isinstance(word, SessionOpened) for word in peer.words)
            peer.close()


@pytest.mark.parametrize("how", ["sigterm", "owner"])
def test_it_ends_in_good_order(tmp_path: Path, how: str) -> None:
    with scheduler(tmp_path) as running:
        driver, executor = Driver(running), Executor(running, "a")
        executor.registers()
        driver.connects()
        if how == "sigterm":
            running.process.send_signal(signal.SIGTERM)
        else:
            os.close(running.owner)
            running.owner = os.open(os.devnull, os.O_RDONLY)
        executor.awaits(StopExecutor)
        driver.awaits(SessionRefused)
        assert running.process.wait(5) == 0
        driver.close()
        executor.close()


def test_a_scheduler_that_starts_when_its_owners_directory_is_gone_makes_no_other(
    tmp_path: Path,
) -> None:
    gone = tmp_path / "gone"
    path = os.pathsep.join((str(ROOT), str(ROOT / "scheduler")))
    ended = subprocess.run(
        [sys.executable, "-m", "flowgrid_scheduler", "--state-dir", str(gone), "--owner-fd", "0"],
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert str(gone) in ended.stderr
    assert not gone.exists()


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (["--bind", "tcp://0.0.0.0:0"], "--keys"),
        (["--conf", "executor.memori=1g"], "executor.memory"),
        (["--conf", "nonsense"], "name=value"),
    ],
)
def test_bad_flags_are_refused_with_exit_code_2(
    tmp_path: Path, flags: list[str], expected: str
) -> None:
    path = os.pathsep.join((str(ROOT), str(ROOT / "scheduler")))
    ended = subprocess.run(
        [sys.executable, "-m", "flowgrid_scheduler", "--state-dir", str(tmp_path), *flags],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=20,
    )
    assert ended.returncode == 2
    assert expected in ended.stderr
