"""Blocks of a leaving executor come to us, and whatever happens meanwhile leaves nothing behind."""

from __future__ import annotations

from flowgrid_executor.events import (
    BlocksFetched,
    DropAllBlocks,
    DropBlocks,
    DropJobBlocks,
    FetchBlocks,
    KeepBlocks,
    LinkBroken,
    Rejoin,
    Send,
)

from flowgrid.ids import ExecutorId, JobId
from flowgrid.protocol.departures import BlocksCopied, CopyBlocks, CopyFailed
from flowgrid.protocol.job_graph import ExecutorAddress
from flowgrid.protocol.messages import DropAttempts, DropJob
from flowgrid.protocol.reports import AttemptReport
from tests.executor.core_story import Story, attempt

SOURCE = ExecutorAddress(ExecutorId("leaving", 1), "there", "/d", "tcp://x")
REPORT = AttemptReport((), (1,), (8,), 7)
REQUEST = CopyBlocks((attempt(1), attempt(2)), (REPORT, REPORT), SOURCE)


def copying() -> Story:
    story = Story()
    assert story.happens(REQUEST) == [
        FetchBlocks(one, SOURCE, "/blocks") for one in REQUEST.attempts
    ]
    return story


def test_what_has_come_is_kept_and_reported() -> None:
    actions = copying().happens(BlocksFetched(attempt(1)))
    assert actions == [KeepBlocks(attempt(1)), Send(BlocksCopied(attempt(1)))]


def test_what_did_not_come_leaves_nothing() -> None:
    actions = copying().happens(BlocksFetched(attempt(1), "gone"))
    assert actions == [DropBlocks(attempt(1)), Send(CopyFailed(attempt(1), "gone"))]


def test_the_same_request_twice_is_one_fetch() -> None:
    assert copying().happens(REQUEST) == []


def test_what_is_dropped_on_its_way_goes_when_it_has_come() -> None:
    story = copying()
    assert story.happens(DropAttempts((attempt(1),))) == []
    assert story.happens(BlocksFetched(attempt(1))) == [DropBlocks(attempt(1))]


def test_a_job_is_deleted_when_nothing_of_it_is_on_its_way() -> None:
    story = copying()
    assert story.happens(DropJob(JobId(1))) == []
    assert story.happens(BlocksFetched(attempt(1))) == [DropBlocks(attempt(1))]
    last = story.happens(BlocksFetched(attempt(2)))
    assert last == [DropBlocks(attempt(2)), DropJobBlocks(JobId(1))]


def test_a_new_incarnation_begins_when_nothing_is_on_its_way() -> None:
    story = copying()
    assert story.happens(LinkBroken("a gap")) == []
    assert story.happens(BlocksFetched(attempt(1))) == [DropBlocks(attempt(1))]
    last = story.happens(BlocksFetched(attempt(2)))
    assert last == [DropBlocks(attempt(2)), DropAllBlocks(), Rejoin("a gap")]
