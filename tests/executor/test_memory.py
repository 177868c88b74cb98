"""Memory is short: who gets how much, and how an attempt that needs more runs once more, alone."""

from __future__ import annotations

import msgspec
from flowgrid_executor.events import Action, DropBlocks, Send, SlotAnswered, SlotOverran
from flowgrid_executor.memory import (
    IDLE_SLOT_BYTES,
    batch_rows,
    chunk_bytes,
    held_bytes_max,
    kernel_share,
    row_group_bytes,
    slot_share,
)
from flowgrid_executor.slot_protocol import (
    AttemptBroke,
    AttemptDone,
    ForkSlot,
    KillSlot,
    SlotDied,
    SlotForked,
)

from flowgrid.config import EXECUTOR_OWN_BYTES, MIB, executor_memory_bytes_min
from flowgrid.ids import JobId
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.messages import (
    AttemptCancelled,
    AttemptFailed,
    AttemptStarted,
    CallRoll,
    CancelAttempts,
    DropJob,
)
from tests.executor.core_story import REPORT, SETUP, Story, attempt, request, runs

COVERS = ["slot_memory"]

SHARE = slot_share(SETUP, alone=False)

NO_MEMORY = Failure(FailureKind.OUT_OF_MEMORY, "Out of Memory Error: of 300 MiB.\nBuy more.")


def runs_out(story: Story, slot: int, partition: int) -> list[Action]:
    return story.happens(SlotAnswered(slot, AttemptBroke(attempt(partition), NO_MEMORY)))


def overruns(story: Story, slot: int, partition: int) -> list[Action]:
    """It is found, and killed, and dead."""
    found = story.happens(SlotOverran(slot, attempt(partition), 700 * MIB))
    return found + story.happens(SlotDied(slot, -9, killed=True))


def ends(story: Story, slot: int, partition: int, held_bytes: int) -> list[Action]:
    done = AttemptDone(attempt(partition), REPORT)
    return story.happens(SlotAnswered(slot, done, held_bytes))


def sent(actions: list[Action]) -> list[object]:
    return [action.message for action in actions if isinstance(action, Send)]


def test_slots_share_equally_what_the_executor_does_not_need_itself() -> None:
    assert slot_share(SETUP, alone=False) == (SETUP.memory_bytes - EXECUTOR_OWN_BYTES) // 2
    alone = slot_share(SETUP, alone=True)
    assert alone == SETUP.memory_bytes - EXECUTOR_OWN_BYTES - IDLE_SLOT_BYTES


def test_an_executor_with_next_to_nothing_gives_half_of_it_to_its_slots() -> None:
    tiny = msgspec.structs.replace(SETUP, memory_bytes=32 * MIB)
    assert slot_share(tiny, alone=False) == 8 * MIB
    assert slot_share(tiny, alone=True) == 16 * MIB


def test_what_runs_out_of_memory_runs_again_when_nothing_else_does() -> None:
    story = Story()
    story.launches(0, 1, 2)

    assert runs_out(story, 0, 0) == [DropBlocks(attempt(0))]
    again = story.answers(1, 1)

    assert runs(again) == [(0, attempt(0))]
    told = request(again)
    assert told.memory_bytes == slot_share(SETUP, alone=True)
    assert (told.threads, told.settings["kernel.batch_rows"]) == (1, "2048")
    assert AttemptStarted(attempt(0)) not in sent(again), "that was said before"
    assert runs(story.launches(3)) == []
    assert runs(story.answers(0, 0)) == [(0, attempt(2)), (1, attempt(3))]


def test_with_several_threads_the_next_attempt_has_them_again() -> None:
    story = Story()
    story.launches(0)
    runs_out(story, 0, 0)
    told = request(story.answers(0, 0) + story.launches(1))
    assert told.threads == SETUP.threads_per_slot
    assert told.settings == SETUP.settings


def test_what_runs_out_of_memory_alone_fails_and_says_what_there_was() -> None:
    story = Story()
    story.launches(0)
    runs_out(story, 0, 0)

    (failed,) = sent(runs_out(story, 0, 0))

    assert isinstance(failed, AttemptFailed)
    assert failed.failure.kind is FailureKind.OUT_OF_MEMORY
    assert failed.failure.message == (
        "Out of Memory Error: of 300 MiB, alone on an executor with 1,024 MiB of memory in total"
    )


def test_two_that_run_out_of_memory_run_one_after_the_other() -> None:
    story = Story()
    story.launches(0, 1)
    runs_out(story, 0, 0)

    assert runs(runs_out(story, 1, 1)) == [(0, attempt(1))]
    assert runs(story.answers(0, 1)) == [(0, attempt(0))]


def test_other_failures_of_an_attempt_that_is_alone_are_what_they_are() -> None:
    story = Story()
    story.launches(0)
    runs_out(story, 0, 0)

    (failed,) = sent(story.happens(SlotDied(0, -11)))

    assert isinstance(failed, AttemptFailed)
    assert failed.failure.kind is FailureKind.PROCESS_DIED


def test_who_waits_to_be_alone_can_be_cancelled_and_holds_up_nobody_then() -> None:
    story = Story()
    story.launches(0, 1, 2)
    runs_out(story, 0, 0)

    actions = story.happens(CancelAttempts((attempt(0),)))

    assert sent(actions) == [AttemptCancelled(attempt(0)), AttemptStarted(attempt(2))]
    assert runs(actions) == [(0, attempt(2))]


def test_a_job_that_is_dropped_takes_along_what_waits_to_be_alone() -> None:
    story = Story()
    story.launches(0, 1)
    runs_out(story, 0, 0)

    assert sent(story.happens(DropJob(JobId(1)))) == [AttemptCancelled(attempt(0))]
    assert runs(story.happens(SlotDied(1, -9))) == []


def test_the_next_scheduler_launches_anew_what_waits_to_be_alone() -> None:
    story = Story()
    story.launches(0, 1)
    runs_out(story, 0, 0)

    (roll,) = story.happens(CallRoll())

    assert [claim.attempt for claim in getattr(roll, "held", ())] == [attempt(1)]
    assert runs(story.answers(1, 1)) == []


def test_a_slot_keeps_a_quarter_of_what_it_has_from_its_kernel_and_more_after_an_overrun() -> None:
    assert kernel_share(1000 * MIB + IDLE_SLOT_BYTES, overran=False) == 750 * MIB
    assert kernel_share(1000 * MIB + IDLE_SLOT_BYTES, overran=True) == 400 * MIB
    assert kernel_share(40 * MIB, overran=False) == 10 * MIB


def test_small_slots_get_small_batches_of_whole_vectors() -> None:
    assert batch_rows(122_880, 512 * MIB) == batch_rows(122_880, 8 << 30) == 122_880
    assert batch_rows(122_880, 128 * MIB) == 122_880 // 4
    assert batch_rows(122_880, MIB) == 2_048
    assert batch_rows(10, MIB) == 10
    assert (row_group_bytes(MIB, 1 << 30), row_group_bytes(MIB, 8 * MIB)) == (MIB, MIB // 2)
    assert (chunk_bytes(32 * MIB, 2 << 30), chunk_bytes(32 * MIB, 128 * MIB)) == (32 * MIB, 4 * MIB)


def test_the_least_that_an_executor_starts_with_has_room_for_every_slot() -> None:
    least = msgspec.structs.replace(SETUP, memory_bytes=executor_memory_bytes_min(SETUP.slot_count))
    share = slot_share(least, alone=False)
    assert IDLE_SLOT_BYTES + kernel_share(share, overran=False) < 0.9 * share


def test_what_uses_more_than_its_share_is_killed_and_runs_alone_with_less_for_its_kernel() -> None:
    story = Story()
    story.launches(0)

    killed = story.happens(SlotOverran(0, attempt(0), 700 * MIB))
    again = story.happens(SlotDied(0, -9, killed=True))

    assert killed == [KillSlot(0)]
    assert sent(again) == [], "the scheduler need not know"
    assert runs(again) == [(1, attempt(0))]
    alone = slot_share(SETUP, alone=True)
    assert request(again).memory_bytes == alone
    assert request(again).kernel_bytes == kernel_share(alone, overran=True)


def test_what_uses_too_much_alone_fails_with_its_stage_and_its_figures() -> None:
    story = Story()
    story.launches(0)
    overruns(story, 0, 0)
    (failed,) = sent(overruns(story, 1, 0))

    assert isinstance(failed, AttemptFailed)
    assert failed.failure.kind is FailureKind.OUT_OF_MEMORY
    assert failed.failure.message == (
        "scan used 700 MiB of memory where its slot has 952 MiB, "
        "alone on an executor with 1,024 MiB of memory in total"
    )


def test_an_overrun_that_is_found_when_its_attempt_has_ended_is_none() -> None:
    story = Story()
    story.launches(0, 1, 2)
    story.answers(0, 0)

    assert story.happens(SlotOverran(0, attempt(0), 700 * MIB)) == [], "another one runs there"


def test_what_is_cancelled_while_it_dies_of_its_memory_is_cancelled() -> None:
    story = Story()
    story.launches(0)
    story.happens(SlotOverran(0, attempt(0), 700 * MIB))
    assert story.happens(CancelAttempts((attempt(0),))) == []

    assert sent(story.happens(SlotDied(0, -9, killed=True))) == [AttemptCancelled(attempt(0))]


def test_what_the_system_kills_for_memory_runs_again_alone() -> None:
    story = Story()
    story.launches(0, 1)

    assert sent(story.happens(SlotDied(0, -9, starved=True))) == []
    assert runs(story.answers(1, 1)) == [(1, attempt(0))]


def test_what_was_cancelled_before_the_system_killed_it_is_cancelled() -> None:
    story = Story()
    story.launches(0)
    story.happens(CancelAttempts((attempt(0),)))

    assert sent(story.happens(SlotDied(0, -9, starved=True))) == [AttemptCancelled(attempt(0))]


def test_a_slot_that_holds_more_than_half_of_its_share_for_nothing_is_forked_anew() -> None:
    story = Story()
    story.launches(0, 1, 2)

    assert runs(ends(story, 0, 0, held_bytes_max(SETUP))) == [(0, attempt(2))]
    actions = ends(story, 1, 1, held_bytes_max(SETUP) + 1)
    assert actions[-1] == KillSlot(1)
    assert runs(story.launches(3)) == [], "it is dying"
    assert ForkSlot(1) in story.happens(SlotDied(1, -9, killed=True)), "without a pause"
    assert runs(story.happens(SlotForked(1, 200))) == [(1, attempt(3))]


def test_who_needs_all_of_the_memory_waits_until_idle_slots_have_given_theirs_back() -> None:
    story = Story()
    story.launches(0, 1)
    ends(story, 0, 0, IDLE_SLOT_BYTES + 1)

    again = runs_out(story, 1, 1)

    assert again[-1] == KillSlot(0)
    assert runs(again) == []
    assert runs(story.happens(SlotDied(0, -9, killed=True))) == [(1, attempt(1))]
