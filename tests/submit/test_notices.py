"""A warning reaches people: on their terminal, or where they let their program log."""

from __future__ import annotations

import io
import logging
import sys

import pytest

from flowgrid.ids import JobId
from flowgrid.protocol.waits import JobStalled, Wait, WaitKind
from flowgrid.submit.notices import warn_stalled

STALLED = JobStalled(JobId(1), 61.2, (Wait(WaitKind.SLOT, "it waits for a slot", "executor a"),))
TEXT = "app 1: nothing has moved for 61 s; it waits for a slot"
SHOWN = f"flowgrid: {TEXT}\n"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_program_that_logs_finds_it_in_its_log(caplog: pytest.LogCaptureFixture) -> None:
    warn_stalled("app 1", STALLED)
    assert [(r.name, r.levelname, r.message) for r in caplog.records] == [
        ("flowgrid", "WARNING", TEXT)
    ]


@pytest.mark.parametrize(("terminal", "seen"), [(Terminal(), SHOWN), (io.StringIO(), "")])
def test_without_a_log_it_is_shown_on_a_terminal_only(
    terminal: io.StringIO, seen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("flowgrid"), "propagate", False)
    monkeypatch.setattr(sys, "stderr", terminal)
    warn_stalled("app 1", STALLED)
    assert terminal.getvalue() == seen
