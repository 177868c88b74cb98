"""What a slot notes, its supervisor reads: in another process, at any moment."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest
from flowgrid_executor.progress import ProgressPage, read_progress

from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.protocol.waits import AttemptProgress

ATTEMPT = AttemptId(1, 2, 3, 4)
PRODUCER = AttemptId(1, 0, 7, 1)
HOLDER = ExecutorId("exécuteur-9", 5)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "progress-0"


def test_a_slot_that_waits_says_for_whom_and_how_long(path: Path) -> None:
    with contextlib.closing(ProgressPage(path, ATTEMPT)) as page:
        page.waits(PRODUCER, HOLDER, 10.0)
        page.came(1000)
        page.waits(PRODUCER, HOLDER, 10.0)
        progress = read_progress(path, ATTEMPT, 7.0, time.monotonic() + 3)
    assert progress.idle_s == pytest.approx(3, abs=1)
    assert progress == AttemptProgress(
        ATTEMPT, 7.0, 1000, progress.idle_s, PRODUCER, HOLDER.name, 10.0
    )


def test_a_slot_that_computes_waits_for_nobody(path: Path) -> None:
    with contextlib.closing(ProgressPage(path, ATTEMPT)) as page:
        page.waits(PRODUCER, HOLDER, 10.0)
        page.came(1000)
        progress = read_progress(path, ATTEMPT, 7.0, time.monotonic())
    assert (progress.waits_for, progress.holder, progress.read_bytes) == (None, "", 1000)


def test_the_page_of_another_attempt_says_nothing(path: Path) -> None:
    with contextlib.closing(ProgressPage(path, ATTEMPT)) as page:
        page.waits(PRODUCER, HOLDER, 10.0)
    other = AttemptId(1, 2, 3, 5)
    assert read_progress(path, other, 7.0, 0.0) == AttemptProgress(other, 7.0, idle_s=7.0)
    page = ProgressPage(path, other)
    assert read_progress(path, other, 7.0, 0.0).waits_for is None
    page.close()


def test_without_a_page_it_is_known_that_it_runs(path: Path) -> None:
    assert read_progress(path, ATTEMPT, 7.0, 0.0) == AttemptProgress(ATTEMPT, 7.0, idle_s=7.0)
    path.write_bytes(b"cut off")
    assert read_progress(path, ATTEMPT, 7.0, 0.0) == AttemptProgress(ATTEMPT, 7.0, idle_s=7.0)
