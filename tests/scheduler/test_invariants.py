"""A check that cannot fail checks nothing: each sort of damage is found."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flowgrid_scheduler.cluster import ClusterState
from flowgrid_scheduler.invariants import check
from flowgrid_scheduler.stages import TaskState

from tests.scheduler.story import Story, shuffle


def lose_a_task(state: ClusterState) -> None:
    state.jobs[1].stages[0].queue.take(0, alone=True, steal=True)


def count_a_task_twice(state: ClusterState) -> None:
    state.jobs[1].stages[0].remaining += 1


def forget_an_attempt(state: ClusterState) -> None:
    next(iter(state.executors.alive.values())).attempts.clear()


def keep_blocks_of_nobody(state: ClusterState) -> None:
    stage = state.jobs[1].stages[0]
    stage.states[stage.states.index(TaskState.SUCCEEDED)] = TaskState.LOST


def forget_the_turn(state: ClusterState) -> None:
    state.rotation.clear()


def leave_the_barrier_down(state: ClusterState) -> None:
    state.jobs[1].open = list(state.jobs[1].stages)


def lose_the_driver(state: ClusterState) -> None:
    state.sessions.open.clear()


@pytest.mark.parametrize(
    "damage",
    [
        lose_a_task,
        count_a_task_twice,
        forget_an_attempt,
        keep_blocks_of_nobody,
        forget_the_turn,
        leave_the_barrier_down,
        lose_the_driver,
    ],
)
def test_damage_is_found(damage: Callable[[ClusterState], None]) -> None:
    story = Story.with_defaults()
    story.joins("a").submits(*shuffle(8, 2))
    story.succeeds(story.launched(0)[0])
    check(story.core)
    damage(story.core.state)
    with pytest.raises(AssertionError):
        check(story.core)
