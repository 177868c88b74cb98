"""One schedule, judged: the story from the seed, and the same story told again from the journal."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator
from pathlib import Path

from flowgrid_scheduler.core import SchedulerCore
from flowgrid_scheduler.journal import Journal, JournalHeader, replay

from tests.simulation.world import World

COMMAND = "python -m tests.simulation {}"
REPLAYED_ONE_IN = 10

SCHEDULES_PER_COLLECTION = 100
"""A world is full of cycles, and collecting while it turns takes a sixth of its time."""


class BadSchedule(AssertionError):
    """What went wrong, the end of its story, and the line that tells it again."""

    def __init__(self, world: World, error: Exception, lines: int) -> None:
        story = "\n".join(world.story(lines))
        what = f"{type(error).__name__}: {error}"
        super().__init__(f"{story}\n{what}\nreplay with: {COMMAND.format(world.seed)}")


def run_seed(seed: int, lines: int = 30) -> World:
    """Raises `BadSchedule` if anything is not as it must be."""
    world = World(seed)
    try:
        world.run()
        if seed % REPLAYED_ONE_IN == 0:
            check_replay(world)
    except Exception as error:
        raise BadSchedule(world, error, lines) from error
    return world


def run_seeds(seeds: Iterable[int], lines: int = 30) -> Iterator[World | BadSchedule]:
    """The worlds of many seeds, or what was wrong with them."""
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        for count, seed in enumerate(seeds, start=1):
            try:
                yield run_seed(seed, lines)
            except BadSchedule as bad:
                yield bad
            if count % SCHEDULES_PER_COLLECTION == 0:
                gc.collect()
    finally:
        gc.enable()
        gc.unfreeze()


def check_replay(world: World) -> None:
    """What was recorded makes the same state in a fresh core."""
    again = SchedulerCore(world.config, world.scheduler.identity, world.scheduler.facts)
    for now, event in world.scheduler.recorded:
        again.handle(event, now)
    assert again.digest() == world.scheduler.core.digest(), "the same events, another state"


def check_journal(world: World, directory: Path) -> None:
    """The same by way of a file."""
    scheduler = world.scheduler
    header = JournalHeader(scheduler.identity, world.config.to_conf(), scheduler.facts)
    journal = Journal(directory, header)
    for now, event in world.scheduler.recorded:
        journal.append(now, event)
    journal.close()
    assert replay(journal.path).digest() == world.scheduler.core.digest()
