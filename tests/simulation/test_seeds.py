"""A fixed number of schedules, the same in every run. Any other: `python -m tests.simulation`."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.simulation.faults import Fault
from tests.simulation.schedule import BadSchedule, check_journal, run_seed, run_seeds
from tests.simulation.schedulers import Moment

FIRST_SEED = 1_000_000
BLOCKS = 8
BLOCK_SCHEDULES = 700


@pytest.mark.parametrize("seed", [13583, 21630])
def test_schedules_that_found_a_bug_are_as_they_must_be(seed: int) -> None:
    """A holder that is given up after it has gone; a greeting whose number was heard before."""
    run_seed(seed)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_whatever_happens_the_answer_is_right_or_a_named_error(block: int) -> None:
    struck: set[Fault] = set()
    deaths: set[Moment] = set()
    ends: Counter[str] = Counter()
    first = FIRST_SEED + block * BLOCK_SCHEDULES
    for world in run_seeds(range(first, first + BLOCK_SCHEDULES)):
        if isinstance(world, BadSchedule):
            raise world
        struck |= world.struck
        deaths |= world.deaths
        ends.update(job.ended for driver in world.drivers for job in driver.jobs)
    assert struck == set(Fault), "a fault that never comes proves nothing"
    assert deaths == set(Moment), "a scheduler dies in every moment of its life"
    assert ends["succeeded"] > ends.total() / 2, f"too few answers to judge: {ends}"


def test_the_journal_of_a_schedule_makes_the_same_state(tmp_path: Path) -> None:
    check_journal(run_seed(FIRST_SEED), tmp_path)


def test_the_same_seed_is_the_same_schedule_whatever_the_hash_seed() -> None:
    program = (
        "from tests.simulation.schedule import run_seed\n"
        "for seed in range(5):\n"
        "    world = run_seed(seed)\n"
        "    print(world.scheduler.core.digest(), world.timeline.happened, world.timeline.now)\n"
    )
    root = Path(__file__).parents[2]
    path = os.pathsep.join(str(root / part) for part in (".", "scheduler", "executor"))
    stories = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hash_seed in ("0", "1", "4711")
    }
    assert len(stories) == 1
