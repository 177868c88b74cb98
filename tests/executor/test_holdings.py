"""What an executor answers when the next scheduler calls the roll."""

from __future__ import annotations

from flowgrid_executor.events import AnswerRollCall, LinkBroken
from flowgrid_executor.slot_protocol import SlotDied, SlotForked

from flowgrid.ids import JobId, StageId
from flowgrid.protocol.job_graph import Slice, StageInput
from flowgrid.protocol.messages import (
    CallRoll,
    CancelAttempts,
    DescribeStage,
    DropAttempts,
    DropJob,
    LaunchAttempts,
    LocateInputs,
)
from flowgrid.protocol.reports import HeldAttempt
from tests.executor.core_story import REPORT, Story, attempt, outputs, runs, stage

COVERS = ["executor_setup"]


def answer(story: Story) -> tuple[HeldAttempt, ...]:
    (action,) = story.happens(CallRoll())
    assert isinstance(action, AnswerRollCall)
    return action.held


def test_what_runs_and_what_is_finished_is_claimed() -> None:
    story = Story()
    story.launches(0, 1)
    story.answers(0, 0)
    assert answer(story) == (
        HeldAttempt(attempt(0), (), REPORT),
        HeldAttempt(attempt(1), ()),
    )


def test_a_claim_says_which_attempts_it_was_told_to_read() -> None:
    story = Story()
    everything, nothing = StageInput(0), StageInput(0, (Slice(2, 2, 0, 1),) * 100)
    a_part = StageInput(0, (Slice(0, 1, 0, 1),) * 100)
    story.happens(DescribeStage(StageId(1, 0), stage(inputs=(everything, a_part, nothing))))
    story.happens(LocateInputs(StageId(1, 0), (outputs("a"), outputs("b"), outputs("c"))))
    story.launches(0)
    (claim,) = answer(story)
    assert claim.reads == ((0,), (0,), ())


def test_what_waits_in_the_backlog_is_the_schedulers_again() -> None:
    story = Story()
    story.launches(0, 1, 2)
    assert [claim.attempt for claim in answer(story)] == [attempt(0), attempt(1)]
    assert runs(story.answers(0, 0)) == []


def test_what_is_being_cancelled_is_not_claimed() -> None:
    story = Story()
    story.launches(0, 1)
    story.happens(CancelAttempts((attempt(0),)))
    assert [claim.attempt for claim in answer(story)] == [attempt(1)]


def test_what_was_dropped_is_not_claimed() -> None:
    story = Story()
    story.launches(0, 1)
    story.answers(0, 0)
    story.happens(DropAttempts((attempt(0),)))
    story.happens(SlotDied(1, -9))
    story.happens(SlotForked(1, 101))
    assert answer(story) == ()

    story.launches(2)
    story.answers(0, 2)
    story.happens(DropJob(JobId(1)))
    assert answer(story) == ()


def test_who_was_fenced_holds_nothing() -> None:
    story = Story()
    story.launches(0)
    story.answers(0, 0)
    story.happens(LinkBroken("a gap"))
    assert answer(story) == ()


def test_a_stage_must_be_described_again_after_a_roll_call() -> None:
    story = Story()
    answer(story)
    assert runs(story.happens(LaunchAttempts((attempt(0),)))) == []
