"""One schedule, judged: the story from the seed, and the same story told again from the journal."""

from __future__ import annotations

from flowgrid_scheduler.core import SchedulerCore

from tests.simulation.world import World

COMMAND = "python -m tests.simulation {}"
REPLAYED_ONE_IN = 10


def run_seed(world: World) -> None:
    """Raises `AssertionError`, or whatever a core raised, if anything is not as it must be."""
    world.run()
    if world.seed % REPLAYED_ONE_IN == 0:
        check_replay(world)


def check_replay(world: World) -> None:
    """What was recorded makes the same state in a fresh core."""
    again = SchedulerCore(world.config, world.scheduler.identity)
    for now, event in world.scheduler.recorded:
        again.handle(event, now)
    assert again.digest() == world.scheduler.core.digest(), "the same events, another state"
