"""The core as a whole: who is let in, what silence means, and that nothing needs a clock."""

from __future__ import annotations

import msgspec
import pytest
from flowgrid_scheduler.events import ExecutorUnreachable, Tick

from flowgrid.ids import AttemptId, ExecutorId
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.job_graph import OutputKind, StageSpec
from flowgrid.protocol.messages import (
    AttemptCancelled,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    ClusterChanged,
    DescribeStage,
    ExecutorEnvelope,
    ExecutorLeft,
    ExecutorRegistered,
    Fence,
    FromExecutor,
    Heartbeat,
    JobSucceeded,
    RegisterExecutor,
    SessionRefused,
    StopExecutor,
)
from flowgrid.protocol.reports import AttemptReport
from tests.scheduler.story import (
    IDENTITY,
    VERSIONS,
    Story,
    address,
    executor_id,
    launches,
    maps,
    sent_to_drivers,
    sent_to_executors,
    shuffle,
)

COVERS = ["actions", "events", "cluster", "patience"]


def test_an_executor_that_registers_is_greeted_and_given_work(story: Story) -> None:
    story.submits(maps(3))
    register = RegisterExecutor(address(executor_id("a")), 1, 1 << 30, VERSIONS)
    actions = story.executor_says("a", register)
    assert sent_to_executors(actions, ExecutorRegistered) == [
        ("a", ExecutorRegistered(1, IDENTITY.heartbeat_address))
    ]
    assert sent_to_drivers(actions, ClusterChanged) == [ClusterChanged(1, 1)]
    assert len(sent_to_executors(actions, DescribeStage)) == 1
    assert len(launches(actions)) == 2, "one slot and one place of backlog"


def test_an_executor_of_another_version_is_fenced_for_good(story: Story) -> None:
    versions = msgspec.structs.replace(VERSIONS, duckdb="1.4.0")
    register = RegisterExecutor(address(executor_id("a")), 1, 1 << 30, versions)
    ((_, fence),) = sent_to_executors(story.executor_says("a", register), Fence)
    assert fence.final
    assert "1.4.0" in fence.reason
    assert "2.0.0" in fence.reason


def test_who_never_registered_is_fenced(story: Story) -> None:
    actions = story.executor_says("a", AttemptStarted(AttemptId(1, 0, 0, 0)))
    assert [who for who, _ in sent_to_executors(actions, Fence)] == ["a"]


def test_a_lost_incarnation_never_comes_back_but_its_name_does(story: Story) -> None:
    story.joins("a")
    story.happens(ExecutorUnreachable(executor_id("a")))
    register = RegisterExecutor(address(executor_id("a")), 1, 1 << 30, VERSIONS)
    again = story.happens(ExecutorEnvelope(executor_id("a"), 0, (register,)))
    assert len(sent_to_executors(again, Fence)) == 1

    reborn = ExecutorId("a", 12345)
    register = RegisterExecutor(address(reborn), 1, 1 << 30, VERSIONS)
    actions = story.happens(ExecutorEnvelope(reborn, 0, (register,)))
    assert len(sent_to_executors(actions, ExecutorRegistered)) == 1


def test_an_envelope_that_comes_twice_is_ignored(story: Story) -> None:
    story.joins("a").submits(maps(1))
    (attempt,) = story.launched(0)
    envelope = ExecutorEnvelope(executor_id("a"), 1, (AttemptStarted(attempt),))
    story.happens(envelope)
    before = story.core.digest()
    assert story.happens(envelope) == []
    assert story.core.digest() == before


def test_a_promised_word_that_never_comes_loses_the_executor(story: Story) -> None:
    story.joins("a").submits(maps(1))
    for _ in range(12):
        story.now += 0.25
        story.happens(Heartbeat(executor_id("a"), sent=2, received=0))
        actions = story.happens(Tick())
    assert "never came" in sent_to_executors(story.asked, Fence)[0][1].reason
    assert launches(actions) == []


def test_a_promised_word_that_comes_a_little_later_is_fine(story: Story) -> None:
    story.joins("a").submits(maps(1))
    for _ in range(4):
        story.now += 0.25
        story.happens(Heartbeat(executor_id("a"), sent=2, received=0))
        story.happens(Tick())
    story.executor_says("a")
    story.time_passes(5)
    assert not sent_to_executors(story.asked, Fence)


def test_a_scheduler_that_slept_blames_nobody(story: Story) -> None:
    story.joins("a", "b").submits(maps(2))
    story.now += 3600
    story.happens(Tick())
    assert not sent_to_executors(story.asked, Fence)
    assert not sent_to_drivers(story.asked, SessionRefused)
    story.finishes_stage(0)
    assert story.told_driver(JobSucceeded)


def test_a_silent_executor_is_lost_after_the_timeout_and_not_before(story: Story) -> None:
    story.joins("a", "b").submits(maps(2))
    story.falls_silent("b")
    story.time_passes(story.config.executor_heartbeat_timeout_s - 1)
    assert len(story.core.state.executors.alive) == 2
    story.time_passes(2)
    assert [id_.name for id_ in story.core.state.executors.alive] == ["a"]


def test_there_is_a_deadline_while_anybody_is_watched(story: Story) -> None:
    assert story.core.next_deadline() is None
    story.joins("a")
    story.happens(Tick())
    deadline = story.core.next_deadline()
    assert deadline is not None
    assert story.now < deadline <= story.now + 0.5


def test_others_who_talk_do_not_put_off_the_check_for_silence(story: Story) -> None:
    story.joins("a", "b")
    story.happens(Tick())
    deadline = story.core.next_deadline()
    story.now += 0.1
    story.executor_says("a")
    assert story.core.next_deadline() == deadline


def test_the_end_in_good_order_reaches_everybody(story: Story) -> None:
    story.joins("a", "b").connects()
    actions = story.core.stop()
    assert [who for who, _ in sent_to_executors(actions, StopExecutor)] == ["a", "b"]
    assert len(sent_to_drivers(actions, SessionRefused)) == 1


EXECUTOR_WORDS: list[FromExecutor] = [
    RegisterExecutor(address(executor_id("a")), 2, 1 << 30, VERSIONS),
    AttemptStarted(AttemptId(1, 0, 0, 0)),
    AttemptSucceeded(AttemptId(1, 0, 0, 0), AttemptReport((), (1, 1), (8, 8), 5)),
    AttemptFailed(AttemptId(1, 0, 0, 0), Failure(FailureKind.INTERNAL, "broken")),
    AttemptCancelled(AttemptId(1, 0, 0, 0)),
    ExecutorLeft("signal 15"),
]


@pytest.mark.parametrize("word", EXECUTOR_WORDS, ids=lambda word: type(word).__name__)
def test_every_word_of_an_executor_may_come_twice(story: Story, word: FromExecutor) -> None:
    story.joins("b", "a").submits(*shuffle(3, 2))
    assert story.live[AttemptId(1, 0, 0, 0)] == "b"
    name = "a" if isinstance(word, RegisterExecutor) else "b"
    story.executor_says(name, word)
    once = story.core.state.jobs[1].fingerprint()
    actions = story.executor_says(name, word)
    assert story.core.state.jobs[1].fingerprint() == once
    assert not launches(actions)


def test_work_does_not_grow_with_tasks_that_did_not_change(story: Story) -> None:
    """One word about one task of a huge stage touches a handful of tasks, not all of them."""
    story.joins("a").submits(StageSpec(0, "huge", 100_000, OutputKind.BLOCKS))
    assert len(story.live) == 4
    stage = story.core.state.jobs[1].stages[0]
    stage.states = Counting(stage.states)
    before = Counting.reads
    attempt = story.launched(0)[0]
    report = story.report(attempt)
    word = ExecutorEnvelope(executor_id("a"), 1, (AttemptSucceeded(attempt, report),))
    story.told.append((story.now, word))
    story.core.handle(word, story.now)
    assert Counting.reads - before < 20
    stage.states = bytearray(stage.states)


class Counting(bytearray):
    """Counts how often an entry is looked at."""

    reads = 0

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        Counting.reads += 1
        return super().__getitem__(index)
