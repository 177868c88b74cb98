"""Whom a task avoids, and for how long."""

from __future__ import annotations

from flowgrid.ids import AttemptId
from flowgrid.protocol.failures import FetchCause
from flowgrid.protocol.messages import ReportFetchFailed
from tests.scheduler.story import JOB, Story, fetch_failure, maps, reduces


def test_who_cannot_be_reached_is_still_avoided_after_another_failure_elsewhere(
    story: Story,
) -> None:
    first = maps(1)
    story.joins("a", "b", slots=1).submits(first, reduces(1, first))
    story.finishes_stage(0)
    (attempt,) = story.launched(1)
    unreachable = story.live[attempt]
    story.succeeds(attempt)
    failure = fetch_failure(attempt, unreachable, FetchCause.UNREACHABLE)
    story.driver_says(ReportFetchFailed(JOB, failure))

    (again,) = story.launched(1)
    elsewhere = story.live[again]
    assert elsewhere != unreachable
    (holder,) = {name for name in "ab" if name != elsewhere}
    story.fails(again, fetch_failure(AttemptId(1, 0, 0, 0), holder, FetchCause.UNREACHABLE))
    story.finishes_stage(0)

    (last,) = story.launched(1)
    assert story.live[last] == elsewhere
