"""The log is at any moment a snapshot of what it is about, and a state can be made of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from flowgrid_scheduler.cluster import ClusterIdentity
from flowgrid_scheduler.core import SchedulerCore
from flowgrid_scheduler.invariants import check
from flowgrid_scheduler.job_log import CLUSTER, Changes, Key, Kind
from flowgrid_scheduler.jobs import JobState
from flowgrid_scheduler.snapshots import ATTEMPTS_PER_LIFE, snapshot

from flowgrid.config import Config
from flowgrid.protocol.messages import CloseSession, ReleaseJob
from tests.scheduler.story import IDENTITY, JOB, VERSIONS, Story, maps, shuffle
from tests.scheduler.test_schedules import tell

COVERS = ["job_log"]


def applied(log: Mapping[Key, bytes], changes: Changes) -> dict[Key, bytes]:
    """What a log has after a turn."""
    after = {key: body for key, body in log.items() if key.job not in changes.jobs_gone}
    for key, body in changes.facts:
        if body is None:
            after.pop(key, None)
        else:
            after[key] = body
    return after


def next_scheduler(log: Mapping[Key, bytes], config: Config, epoch: int = 2) -> SchedulerCore:
    return SchedulerCore(config, ClusterIdentity(epoch, VERSIONS), sorted(log.items()))


@pytest.mark.parametrize("index", range(10))
def test_whatever_happens_the_log_is_a_snapshot_and_makes_the_state_it_came_from(
    seed: int, index: int
) -> None:
    chaos = tell(seed + index)
    core = SchedulerCore(chaos.config, IDENTITY)
    log: dict[Key, bytes] = {}
    for number, (now, event) in enumerate(chaos.told):
        core.handle(event, now)
        log = applied(log, core.changes())
        if number % 10:
            continue
        assert log == snapshot(core.state)
        successor = next_scheduler(log, chaos.config)
        check(successor)
        assert applied(log, successor.changes()) == snapshot(successor.state)
        kept = {key for key in log if key.kind >= Kind.SESSION}
        assert {key: log[key] for key in kept} == {
            key: body for key, body in snapshot(successor.state).items() if key in kept
        }


@pytest.mark.parametrize("index", range(5))
def test_the_beginning_of_a_log_may_be_replaced_by_its_snapshot(seed: int, index: int) -> None:
    chaos = tell(seed + index)
    core = SchedulerCore(chaos.config, IDENTITY)
    turns: list[Changes] = []
    states = []
    for now, event in chaos.told:
        core.handle(event, now)
        turns.append(core.changes())
        states.append(snapshot(core.state))
    for cut in range(0, len(turns), 97):
        log = states[cut]
        for turn in turns[cut + 1 :]:
            log = applied(log, turn)
        assert log == states[-1]


def test_an_empty_log_makes_a_scheduler_that_knows_nobody() -> None:
    fresh, restored = SchedulerCore(Config(), IDENTITY), SchedulerCore(Config(), IDENTITY, [])
    assert fresh.digest() == restored.digest()
    assert list(snapshot(restored.state)) == [CLUSTER]


def test_a_log_is_as_large_as_the_jobs_there_are(story: Story) -> None:
    story.joins("a").submits(*shuffle(4, 4))
    story.finishes_stage(0)
    story.finishes_stage(1)
    assert len([key for key in snapshot(story.core.state) if key.job]) == 1 + 2 + 4 + 4
    story.driver_says(ReleaseJob(JOB))
    assert [key for key in snapshot(story.core.state) if key.job] == []
    story.driver_says(CloseSession())
    assert {key.kind for key in snapshot(story.core.state)} == {Kind.CLUSTER, Kind.EXECUTOR}


def test_attempts_of_the_next_scheduler_have_numbers_of_their_own(story: Story) -> None:
    story.joins("a").submits(maps(2))
    log = snapshot(story.core.state)
    for epoch in (2, 3):
        core = next_scheduler(log, story.config, epoch)
        (stage,) = core.state.jobs[1].stages
        assert stage.launch(0).number == (epoch - 1) * ATTEMPTS_PER_LIFE
        log = {**log, **snapshot(core.state)}


def test_a_job_that_was_done_is_done(story: Story) -> None:
    story.joins("a").submits(maps(2))
    story.finishes_stage(0)
    core = next_scheduler(snapshot(story.core.state), story.config)
    assert core.state.jobs[1].state is JobState.SUCCEEDED
    assert not core.state.rotation
