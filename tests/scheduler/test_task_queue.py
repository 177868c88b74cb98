"""Whom a task avoids, and for how long."""

from __future__ import annotations

from flowgrid.ids import AttemptId
from flowgrid.protocol.failures import FailureKind, FetchCause
from tests.scheduler.story import Story, fetch_failure, maps, reduces


def test_who_is_avoided_is_still_avoided_after_another_failure_elsewhere(story: Story) -> None:
    first = maps(1)
    story.joins("a", "b", slots=1).submits(first, reduces(1, first))
    story.finishes_stage(0)
    (attempt,) = story.launched(1)
    full = story.live[attempt]
    story.fails(attempt, FailureKind.DISK_FULL)

    (again,) = story.launched(1)
    elsewhere = story.live[again]
    assert elsewhere != full
    holder = "ab"[story.core.state.jobs[1].stages[0].blocks.holders[0]]
    story.fails(again, fetch_failure(AttemptId(1, 0, 0, 0), holder, FetchCause.MISSING))
    story.finishes_stage(0)

    (last,) = story.launched(1)
    assert story.live[last] == elsewhere
