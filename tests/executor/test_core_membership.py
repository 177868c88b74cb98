"""What an executor does when it is no longer one of the cluster."""

from __future__ import annotations

from flowgrid_executor.core import KNOCK_AFTER_S
from flowgrid_executor.events import (
    DropAllBlocks,
    Exit,
    LinkBroken,
    Rejoin,
    SchedulerHeard,
    Send,
    StopRequested,
    Tick,
)
from flowgrid_executor.slot_protocol import (
    KillSlot,
    SlotDied,
    SlotForked,
)

from flowgrid.protocol.messages import ExecutorLeft, Fence, KeepAlive, StopExecutor
from tests.executor.core_story import (
    LEASE_S,
    Story,
    runs,
)


def test_a_fence_stops_all_work_and_only_then_is_it_somebody_new_who_registers() -> None:
    story = Story()
    story.launches(0, 1, 2)

    assert story.happens(Fence("you were silent")) == [KillSlot(0), KillSlot(1)]
    assert story.launches(3) == []
    assert Rejoin("you were silent") not in story.happens(SlotDied(0, -9))
    actions = story.happens(SlotDied(1, -9))

    assert actions[-2:] == [DropAllBlocks(), Rejoin("you were silent")]
    assert not any(isinstance(action, Send) for action in actions)
    story.happens(SlotForked(0, 102))
    assert runs(story.happens(SlotForked(1, 103))) == [], "the backlog is forgotten"


def test_an_idle_executor_that_is_fenced_registers_anew_at_once() -> None:
    assert Story().happens(Fence("who are you")) == [DropAllBlocks(), Rejoin("who are you")]


def test_a_final_fence_ends_the_executor_with_the_reason() -> None:
    actions = Story().happens(Fence("pyarrow 25 is not 26", final=True))

    assert actions == [Exit("pyarrow 25 is not 26", refused=True)]


def test_a_broken_link_is_like_a_fence() -> None:
    assert Story().happens(LinkBroken("gap")) == [DropAllBlocks(), Rejoin("gap")]


def test_silence_longer_than_the_lease_is_like_a_fence() -> None:
    story = Story()
    story.launches(0)

    knock = Send(KeepAlive())
    assert story.happens(Tick(), after_s=LEASE_S) == [knock]
    assert story.happens(Tick(), after_s=0.1) == [knock, KillSlot(0)]
    *_, rejoin = story.happens(SlotDied(0, -9))
    assert isinstance(rejoin, Rejoin)
    again = story.happens(Tick(), after_s=LEASE_S - 1)
    assert again == [knock], "the new incarnation has a new lease"


def test_every_sign_of_life_renews_the_lease() -> None:
    story = Story()
    story.happens(SchedulerHeard(), after_s=LEASE_S - 1)

    assert story.happens(Tick(), after_s=LEASE_S - 1) == [Send(KeepAlive())]


def test_a_short_silence_is_nothing_and_a_longer_one_is_asked_about() -> None:
    story = Story()
    assert story.happens(Tick(), after_s=KNOCK_AFTER_S) == []
    assert story.happens(Tick(), after_s=0.1) == [Send(KeepAlive())]


def test_an_executor_that_is_asked_to_stop_says_goodbye() -> None:
    assert Story().happens(StopRequested("SIGTERM")) == [
        Send(ExecutorLeft("SIGTERM")),
        Exit("SIGTERM"),
    ]
    assert isinstance(Story().happens(StopExecutor())[-1], Exit)
