"""What several things at once look like from the supervisor, with a real template and real slots."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from flowgrid_executor.events import SlotAnswered, SlotHungUp, TemplateDied
from flowgrid_executor.slot_protocol import AttemptDone, RunAttempt, SlotDied, SlotForked
from flowgrid_executor.slots import SlotEvent, Slots

from flowgrid.ids import AttemptId
from tests.cluster.deadlines import eventually
from tests.executor.wire import PATHS, WAIT_S

pytestmark = pytest.mark.cluster


@pytest.fixture
def slots(monkeypatch: pytest.MonkeyPatch) -> Iterator[Slots]:
    """One slot that is ready."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(map(str, PATHS)))
    with contextlib.closing(Slots("scripted_runner:run_attempt")) as slots:
        slots.fork(0)
        assert [type(event) for event in happened(slots)] == [SlotForked]
        yield slots


def happened(slots: Slots) -> list[SlotEvent]:
    """The next events, all that are there at once."""
    assert select.select([slots], [], [], WAIT_S)[0]
    return slots.events()


def request(tmp_path: Path, script: str, partition: int = 0) -> RunAttempt:
    return RunAttempt(
        attempt=AttemptId(1, 0, partition, 0),
        payload=script.encode(),
        task=b"",
        inputs=(),
        slices=(),
        target_count=1,
        directory=str(tmp_path),
        spill_directory=str(tmp_path / "spill"),
        memory_bytes=1 << 30,
        kernel_bytes=1,
        threads=1,
        host="here",
        settings={},
    )


def ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_a_slot_that_answers_and_dies_before_anybody_looked_can_be_given_the_next_attempt(
    slots: Slots, tmp_path: Path
) -> None:
    slots.run(0, request(tmp_path, "pid"))
    (first,) = happened(slots)
    assert isinstance(first, SlotAnswered)
    assert isinstance(first.answer, AttemptDone)
    (pid,) = first.answer.report.rows

    slots.run(0, request(tmp_path, "ok"))
    # It answers, is killed, and is buried by its template, all of it while we look elsewhere.
    assert select.select([slots], [], [], WAIT_S)[0]
    os.kill(pid, signal.SIGKILL)
    eventually("the template buries it", lambda: not psutil.pid_exists(pid))
    events: list[SlotEvent] = []
    while not any(isinstance(event, SlotDied) for event in events):
        events += happened(slots)
    assert [type(e) for e in events if not isinstance(e, SlotHungUp)] == [SlotAnswered, SlotDied]

    slots.run(0, request(tmp_path, "ok", partition=1))  # what the core does with the answer
    slots.fork(0)
    # The new slot may be quicker than its template's word: nobody asks it before that has come.
    assert [type(event) for event in happened(slots)] == [SlotForked]
    slots.run(0, request(tmp_path, "ok", partition=2))
    (answer,) = happened(slots)
    assert isinstance(answer, SlotAnswered)
    assert answer.answer.attempt.partition == 2


def test_a_kill_that_is_decided_when_the_template_is_dead_is_done_already(slots: Slots) -> None:
    slots._process.kill()
    eventually("it is dead", lambda: ended(slots._process.pid))
    events: list[SlotEvent] = []
    while not any(isinstance(event, TemplateDied) for event in events):
        events += happened(slots)
    slots.kill(0)
    slots.start_template()
    slots.fork(0)
    assert [type(event) for event in happened(slots)] == [SlotForked]
