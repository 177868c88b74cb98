"""Schedules in which attempts wait at executors in long lines, as they do when tasks are short."""

from __future__ import annotations

import pytest
from flowgrid_scheduler import launches

from tests.simulation.schedule import run_seed
from tests.simulation.test_seeds import FIRST_SEED

SCHEDULES = 100


def test_long_backlogs_change_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launches, "attempts_per_slot", lambda jobs: 4)
    for seed in range(FIRST_SEED, FIRST_SEED + SCHEDULES):
        run_seed(seed)
