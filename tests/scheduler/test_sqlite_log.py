"""A turn is in the log as a whole or not at all, and what is in there outlives its process."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from flowgrid_scheduler.job_log import Changes, Key, Kind, LogFullError
from flowgrid_scheduler.sqlite_log import FILE_NAME, LogUnusableError, SqliteLog

from tests.scheduler.peers import ROOT

JOB = Key(1, Kind.JOB)
WINNERS = [Key(1, Kind.WINNER, 0, partition) for partition in range(3)]
SESSION = Key(0, Kind.SESSION, 1)


def facts(directory: Path) -> dict[Key, bytes]:
    log = SqliteLog(directory)
    found = dict(log.read())
    log.close()
    return found


def test_facts_are_read_in_the_order_of_their_keys_and_the_last_one_counts(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    log.write(Changes([], [(WINNERS[1], b"b"), (JOB, b"job"), (WINNERS[0], b"a"), (SESSION, b"s")]))
    log.write(Changes([], [(WINNERS[1], b"B"), (WINNERS[0], None)]))
    assert list(log.read()) == [(SESSION, b"s"), (JOB, b"job"), (WINNERS[1], b"B")]
    log.close()


def test_a_job_that_is_gone_takes_its_facts_along(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    other = Key(2, Kind.JOB)
    log.write(Changes([], [(key, b"x") for key in (SESSION, JOB, *WINNERS, other)]))
    log.write(Changes([1], [(SESSION, b"y")]))
    assert list(log.read()) == [(SESSION, b"y"), (other, b"x")]
    log.close()


def test_what_was_written_outlives_a_kill(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from flowgrid_scheduler.job_log import Changes, Key, Kind\n"
        "from flowgrid_scheduler.sqlite_log import SqliteLog\n"
        f"log = SqliteLog(Path({str(tmp_path)!r}))\n"
        "log.write(Changes([], [(Key(1, Kind.JOB), b'job')]))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = os.pathsep.join((str(ROOT), str(ROOT / "scheduler")))
    ended = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, "PYTHONPATH": path}, check=False
    )
    assert ended.returncode == -signal.SIGKILL
    assert facts(tmp_path) == {JOB: b"job"}


def test_a_turn_that_is_torn_is_no_turn(tmp_path: Path) -> None:
    turns = [Changes([], [(key, bytes([turn]) * 500) for key in WINNERS]) for turn in range(4)]
    written: list[dict[Key, bytes]] = [{}]
    (tmp_path / "whole").mkdir()
    log = SqliteLog(tmp_path / "whole")
    for turn in turns:
        log.write(turn)
        written.append(dict(log.read()))
    wal = Path(f"{log.path}-wal").read_bytes()
    database = log.path.read_bytes()
    seen = []
    for length in (*range(0, len(wal), 97), len(wal)):
        torn = tmp_path / "torn"
        torn.mkdir()
        (torn / FILE_NAME).write_bytes(database)
        (torn / f"{FILE_NAME}-wal").write_bytes(wal[:length])
        seen.append(facts(torn))
        assert seen[-1] in written
        shutil.rmtree(torn)
    log.close()
    assert len({tuple(found.values()) for found in seen}) == len(written), "cut between all turns"


def test_one_scheduler_at_a_time(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    with pytest.raises(LogUnusableError, match="another scheduler uses it; choose another"):
        SqliteLog(tmp_path)
    log.close()
    SqliteLog(tmp_path).close()


def test_what_is_no_log_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"something else, and long enough to be looked at" * 50)
    with pytest.raises(LogUnusableError, match="not a database"):
        SqliteLog(tmp_path)
    later = tmp_path / "later"
    later.mkdir()
    connection = sqlite3.connect(later / FILE_NAME)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(LogUnusableError, match="format is 99"):
        SqliteLog(later)


def test_after_an_end_in_good_order_nothing_is_left(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    log.write(Changes([], [(JOB, b"job")]))
    log.discard()
    assert list(tmp_path.iterdir()) == []


def test_the_log_is_as_large_as_what_is_in_it(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    for job in range(1, 400):
        log.write(Changes([], [(Key(job, Kind.WINNER, 0, p), b"x" * 50) for p in range(200)]))
        log.write(Changes([job], []))
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    log.close()
    assert size < 10 << 20, "80,000 winners have come and gone"


def test_a_full_disk_is_told_by_name_and_nothing_of_the_turn_is_there(tmp_path: Path) -> None:
    log = SqliteLog(tmp_path)
    log.write(Changes([], [(JOB, b"job")]))
    (pages,) = log._connection.execute("PRAGMA page_count").fetchone()
    log._connection.execute(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(LogFullError, match="no room for the job log"):
        log.write(Changes([1], [(WINNERS[0], b"x" * 100_000)]))
    log._connection.execute(f"PRAGMA max_page_count = {pages + 100}")
    assert list(log.read()) == [(JOB, b"job")]
    log.write(Changes([], [(WINNERS[0], b"x" * 100_000)]))
    log.close()
