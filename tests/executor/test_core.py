"""The executor's decisions about attempts and slots: what happened, and all that was asked for."""

from __future__ import annotations

from flowgrid_executor.core import FORK_PAUSE_S, ExecutorCore
from flowgrid_executor.events import (
    ClearSpill,
    DropBlocks,
    DropJobBlocks,
    Exit,
    KeepBlocks,
    SchedulerHeard,
    Send,
    SendHeartbeats,
    SlotAnswered,
    SlotHungUp,
    StartTemplate,
    TemplateDied,
    Tick,
)
from flowgrid_executor.memory import slot_share
from flowgrid_executor.slot_protocol import (
    AttemptBroke,
    ForkSlot,
    KillSlot,
    SlotDied,
    SlotForked,
)

from flowgrid.ids import JobId, StageId
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.job_graph import (
    Slice,
    StageInput,
)
from flowgrid.protocol.messages import (
    AttemptCancelled,
    AttemptFailed,
    AttemptStarted,
    AttemptSucceeded,
    CancelAttempts,
    DescribeStage,
    DropAttempts,
    DropJob,
    ExecutorLeft,
    ExecutorRegistered,
    LaunchAttempts,
    LocateInputs,
)
from tests.executor.core_story import (
    REPORT,
    SETUP,
    Story,
    attempt,
    outputs,
    request,
    runs,
    stage,
)

COVERS = ["backlog", "events", "slot_protocol", "slot_state"]


def test_all_slots_are_forked_before_the_first_task_comes() -> None:
    assert ExecutorCore(SETUP, 0.0).start() == [ForkSlot(0), ForkSlot(1)]


def test_heartbeats_go_where_the_scheduler_says() -> None:
    core = ExecutorCore(SETUP, 0.0)

    actions = core.handle(ExecutorRegistered(7, "tcp://beats"), 0.0)

    assert actions == [SendHeartbeats("tcp://beats")]


def test_an_attempt_runs_at_once_in_a_free_slot_and_the_rest_wait_in_order() -> None:
    story = Story()

    actions = story.launches(0, 1, 2, 3)

    assert runs(actions) == [(0, attempt(0)), (1, attempt(1))]
    started = [Send(AttemptStarted(attempt(0))), Send(AttemptStarted(attempt(1)))]
    assert [action for action in actions if isinstance(action, Send)] == started


def test_a_slot_that_answers_gets_the_next_attempt_without_a_word_from_the_scheduler() -> None:
    story = Story()
    story.launches(0, 1, 2)

    actions = story.answers(slot=1, partition=1)

    assert actions[:2] == [
        KeepBlocks(attempt(1)),
        Send(AttemptSucceeded(attempt(1), REPORT)),
    ]
    assert runs(actions) == [(1, attempt(2))]


def test_attempts_launched_before_the_first_slot_is_there_run_when_it_is() -> None:
    story = Story(slots_ready=0)
    assert story.launches(0) == []

    assert runs(story.happens(SlotForked(0, 100))) == [(0, attempt(0))]


def test_a_request_carries_the_slot_s_share_and_the_task_s_own_part() -> None:
    story = Story(tasks=(b"zero", b"one"))
    inputs = (StageInput(8, (Slice(0, 1, 0, 9), Slice(1, 2, 0, 9))), StageInput(9))
    spec = stage(tasks=(b"zero", b"one"), inputs=inputs)
    story.happens(DescribeStage(StageId(1, 0), spec))

    told = request(story.launches(1))

    assert (told.payload, told.task, told.target_count) == (b"plan", b"one", 4)
    assert told.slices == (Slice(1, 2, 0, 9), None)
    assert told.memory_bytes == slot_share(SETUP, alone=False)
    assert (told.directory, told.spill_directory) == ("/blocks", "/blocks/spill-0")
    assert told.settings == {"kernel.batch_rows": "10"}


def test_only_attempts_launched_after_new_locations_read_from_them() -> None:
    story = Story()
    story.happens(LocateInputs(StageId(1, 0), (outputs("old"),)))
    story.launches(0, 1, 2)
    story.happens(LocateInputs(StageId(1, 0), (outputs("new"),)))
    story.launches(3)

    third = request(story.answers(slot=0, partition=0))
    fourth = request(story.answers(slot=1, partition=1))

    assert (third.attempt, third.inputs) == (attempt(2), (outputs("old"),))
    assert (fourth.attempt, fourth.inputs) == (attempt(3), (outputs("new"),))


def test_an_attempt_launched_twice_runs_once() -> None:
    story = Story(slots_ready=1)
    story.launches(0, 1)

    assert story.launches(0, 1) == []
    assert runs(story.answers(slot=0, partition=0)) == [(0, attempt(1))]
    assert runs(story.answers(slot=0, partition=1)) == []


def test_an_attempt_of_a_stage_that_was_never_described_fails_by_name() -> None:
    story = Story()

    (failed,) = story.happens(LaunchAttempts((attempt(0, job=9),)))

    assert isinstance(failed, Send)
    assert isinstance(failed.message, AttemptFailed)
    assert failed.message.failure.kind is FailureKind.INTERNAL
    assert "job-9/stage-0" in failed.message.failure.message


def test_a_typed_failure_passes_through_and_its_leftovers_go() -> None:
    story = Story()
    story.launches(0)
    failure = Failure(FailureKind.USER_ERROR, "boom")

    actions = story.happens(SlotAnswered(0, AttemptBroke(attempt(0), failure)))

    assert actions == [DropBlocks(attempt(0)), Send(AttemptFailed(attempt(0), failure))]


def test_cancelling_a_waiting_attempt_takes_it_out_of_the_backlog() -> None:
    story = Story(slots_ready=1)
    story.launches(0, 1, 2)

    actions = story.happens(CancelAttempts((attempt(1),)))

    assert actions == [Send(AttemptCancelled(attempt(1)))]
    assert runs(story.answers(slot=0, partition=0)) == [(0, attempt(2))]


def test_cancelling_a_running_attempt_kills_its_slot_and_says_so_when_it_is_dead() -> None:
    story = Story()
    story.launches(0)

    assert story.happens(CancelAttempts((attempt(0),))) == [KillSlot(0)]
    assert story.happens(CancelAttempts((attempt(0),))) == []
    assert story.happens(SlotDied(0, -9)) == [
        ClearSpill(0),
        DropBlocks(attempt(0)),
        Send(AttemptCancelled(attempt(0))),
        ForkSlot(0),
    ]


def test_an_answer_that_crosses_its_cancellation_is_no_success() -> None:
    story = Story()
    story.launches(0)
    story.happens(CancelAttempts((attempt(0),)))

    assert story.answers(slot=0, partition=0) == []
    assert Send(AttemptCancelled(attempt(0))) in story.happens(SlotDied(0, -9))


def test_cancelling_what_is_over_or_unknown_changes_nothing() -> None:
    story = Story()
    story.launches(0)
    story.answers(slot=0, partition=0)

    assert story.happens(CancelAttempts((attempt(0), attempt(77)))) == []


def test_a_slot_that_dies_without_a_word_costs_one_attempt_and_is_replaced() -> None:
    story = Story()
    story.launches(0, 1)

    actions = story.happens(SlotDied(1, -11))

    (failed,) = (a.message for a in actions if isinstance(a, Send))
    assert isinstance(failed, AttemptFailed)
    assert failed.attempt == attempt(1)
    assert failed.failure.kind is FailureKind.PROCESS_DIED
    assert "SIGSEGV" in failed.failure.message
    assert actions[-1] == ForkSlot(1)


def test_the_way_a_slot_died_is_told() -> None:
    def message(exit_code: int) -> str:
        story = Story()
        story.launches(0)
        sent = [a.message for a in story.happens(SlotDied(0, exit_code)) if isinstance(a, Send)]
        assert isinstance(sent[0], AttemptFailed)
        return sent[0].failure.message

    assert "exit code 3" in message(3)
    assert "SIGKILL" in message(-9)
    assert "signal 40" in message(-40)


def test_a_slot_that_only_hangs_up_is_killed_and_its_attempt_fails() -> None:
    story = Story()
    story.launches(0)

    assert story.happens(SlotHungUp(0)) == [KillSlot(0)]
    sent = [a.message for a in story.happens(SlotDied(0, -9, True)) if isinstance(a, Send)]
    assert isinstance(sent[0], AttemptFailed)
    assert "closed its connection" in sent[0].failure.message


def test_a_slot_that_dies_idle_is_forked_again_after_a_pause() -> None:
    story = Story(slots_ready=0)

    assert story.happens(SlotDied(0, 11)) == [ClearSpill(0)]
    story.happens(SchedulerHeard())
    assert story.happens(Tick(), after_s=FORK_PAUSE_S / 2) == []
    assert story.happens(Tick(), after_s=FORK_PAUSE_S / 2) == [ForkSlot(0)]
    assert story.happens(Tick()) == []


def test_the_template_s_death_fails_what_ran_and_starts_another() -> None:
    story = Story()
    story.launches(0)

    actions = story.happens(TemplateDied(-9))

    (failed,) = (a.message for a in actions if isinstance(a, Send))
    assert isinstance(failed, AttemptFailed)
    assert failed.failure.kind is FailureKind.PROCESS_DIED
    assert actions[-3:] == [StartTemplate(), ForkSlot(0), ForkSlot(1)]


def test_an_executor_whose_template_never_forks_a_slot_gives_up() -> None:
    story = Story(slots_ready=0)
    story.happens(TemplateDied(1))
    story.happens(TemplateDied(1))

    *_, left, end = story.happens(TemplateDied(1))

    assert isinstance(left, Send)
    assert isinstance(left.message, ExecutorLeft)
    assert isinstance(end, Exit)
    assert end.refused
    assert "exit code 1" in end.reason


def test_dropping_a_job_kills_what_runs_and_deletes_when_nothing_can_write_any_more() -> None:
    story = Story(slots_ready=1)
    story.launches(0, 1)

    actions = story.happens(DropJob(JobId(1)))

    assert actions == [Send(AttemptCancelled(attempt(1))), KillSlot(0)]
    assert story.happens(SlotDied(0, -9))[-1] == DropJobBlocks(JobId(1))
    assert isinstance(story.launches(2)[0], Send), "its descriptors are gone"


def test_dropping_a_job_that_has_ended_deletes_its_blocks_at_once() -> None:
    story = Story()
    story.launches(0)
    story.answers(slot=0, partition=0)

    assert story.happens(DropJob(JobId(1))) == [DropJobBlocks(JobId(1))]


def test_dropped_attempts_lose_their_blocks_and_running_ones_their_slots() -> None:
    story = Story()
    story.launches(0, 1)
    story.answers(slot=0, partition=0)

    actions = story.happens(DropAttempts((attempt(0), attempt(1))))

    assert actions == [DropBlocks(attempt(0)), KillSlot(1)]
    assert DropBlocks(attempt(1)) in story.happens(SlotDied(1, -9))
