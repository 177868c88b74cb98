"""Which local directory is written to, and which is not any more."""

from __future__ import annotations

import msgspec
from flowgrid_executor.core import ExecutorCore
from flowgrid_executor.directories import FULL_PAUSE_S, LITTLE_ROOM, LocalDirectories
from flowgrid_executor.events import DropBlocks, ExcludeDirectory, Exit, Send, SlotAnswered
from flowgrid_executor.slot_protocol import AttemptBroke

from flowgrid.protocol.departures import BlocksCorrupt
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.messages import AttemptFailed, AttemptStarted, ExecutorLeft
from tests.executor.core_story import SETUP, Story, attempt, request

FULL = Failure(FailureKind.DISK_FULL, "[Errno 28] No space left on device: '/b/x'")
BAD = Failure(FailureKind.DISK_BAD, "[Errno 5] Input/output error: '/b/x'")


def three() -> LocalDirectories:
    return LocalDirectories(["/a", "/b", "/c"])


def chosen(directories: LocalDirectories, now: float = 0.0, *refused: str) -> set[str]:
    return {directories.choose(now, refused) for _ in range(10)}


def test_attempts_take_turns_in_the_directories() -> None:
    directories = three()
    turns = [directories.choose(0.0) for _ in range(6)]
    assert turns[:3] == turns[3:]
    assert set(turns) == {"/a", "/b", "/c"}


def test_what_has_failed_in_a_directory_goes_to_another() -> None:
    assert chosen(three(), 0.0, "/a") == {"/b", "/c"}
    assert chosen(three(), 0.0, "/a", "/c") == {"/b"}
    assert three().any_other(["/a", "/c"])
    assert not three().any_other(["/a", "/b", "/c"])


def test_a_slot_spills_where_it_has_spilled_before_and_slots_share_the_disks() -> None:
    directories = three()
    spills = [directories.places(slot, 0.0, ())[1] for slot in (0, 1, 2, 0, 1, 2)]
    assert spills == ["/a/spill-0", "/b/spill-1", "/c/spill-2"] * 2


def test_a_full_directory_is_left_out_and_used_again_when_it_has_had_time_and_has_room() -> None:
    directories = three()
    assert directories.failed("/b", FULL, 1.0) == []
    directories.measured((0.5, 0.5, 0.5))
    assert chosen(directories, 1.0) == {"/a", "/c"}
    assert directories.excluded() == ()

    later = 1.0 + FULL_PAUSE_S
    directories.measured((0.5, LITTLE_ROOM / 2, 0.5))
    assert chosen(directories, later) == {"/a", "/c"}
    directories.measured((0.5, LITTLE_ROOM, 0.5))
    assert chosen(directories, later) == {"/a", "/b", "/c"}


def test_with_little_room_everywhere_all_are_used() -> None:
    directories = three()
    directories.measured((0.0, 0.01, 0.0))
    assert chosen(directories) == {"/a", "/b", "/c"}


def test_a_bad_directory_is_excluded_for_good_and_its_reason_is_said_once() -> None:
    directories = three()
    assert directories.failed("/b", BAD, 0.0) == [ExcludeDirectory("/b", BAD.message)]
    assert directories.failed("/b", BAD, 0.0) == []
    assert chosen(directories, 1e9) == {"/a", "/c"}
    assert chosen(directories, 1e9, "/a") == {"/c"}
    assert directories.excluded() == (f"/b: {BAD.message}",)


def test_the_executor_leaves_with_its_last_directory_and_says_why() -> None:
    directories = LocalDirectories(["/b"])
    excluded, left, end = directories.failed("/b", BAD, 0.0)
    assert excluded == ExcludeDirectory("/b", BAD.message)
    assert isinstance(left, Send)
    assert isinstance(left.message, ExecutorLeft)
    assert "no local directory is left; /b: [Errno 5]" in left.message.reason
    assert end == Exit(left.message.reason, True)


def test_a_directory_in_which_blocks_are_found_corrupt_twice_is_excluded() -> None:
    directories = three()
    assert directories.corrupt("/b") == directories.corrupt("/a") == directories.corrupt("") == []

    (excluded,) = directories.corrupt("/b")

    assert excluded == ExcludeDirectory("/b", "blocks of 2 attempts were found corrupt there")
    assert chosen(directories) == {"/a", "/c"}


def test_the_last_directory_is_not_excluded_for_what_is_corrupt() -> None:
    directories = LocalDirectories(["/b"])
    assert [directories.corrupt("/b") for _ in range(5)] == [[]] * 5
    assert chosen(directories) == {"/b"}


# -- in the executor -------------------------------------------------------------------------------


class DisksStory(Story):
    def __init__(self, *directories: str) -> None:
        super().__init__()
        home, *more = directories
        setup = msgspec.structs.replace(SETUP, directory=home, more_directories=tuple(more))
        self.core.directories = ExecutorCore(setup, self.now).directories


def test_an_attempt_that_a_disk_failed_runs_again_in_another_and_the_scheduler_hears_nothing() -> (
    None
):
    story = DisksStory("/a", "/b")
    first = request(story.launches(0))
    broke = AttemptBroke(attempt(0), FULL, first.directory)

    again = story.happens(SlotAnswered(0, broke))

    assert again[0] == DropBlocks(attempt(0))
    assert not [action for action in again if isinstance(action, Send)]
    assert {first.directory, request(again).directory} == {"/a", "/b"}
    assert request(again).attempt == attempt(0)


def test_an_attempt_that_all_disks_failed_fails_by_name() -> None:
    story = DisksStory("/a", "/b")
    first = request(story.launches(0))
    second = request(
        story.happens(SlotAnswered(0, AttemptBroke(attempt(0), FULL, first.directory)))
    )

    actions = story.happens(SlotAnswered(0, AttemptBroke(attempt(0), FULL, second.directory)))

    assert actions == [DropBlocks(attempt(0)), Send(AttemptFailed(attempt(0), FULL))]


def test_a_full_disk_that_is_none_of_ours_is_the_scheduler_s_business() -> None:
    story = DisksStory("/a", "/b")
    story.launches(0)
    actions = story.happens(SlotAnswered(0, AttemptBroke(attempt(0), FULL)))
    assert actions == [DropBlocks(attempt(0)), Send(AttemptFailed(attempt(0), FULL))]


def test_after_a_bad_disk_everything_new_goes_to_the_other() -> None:
    story = DisksStory("/a", "/b")
    first = request(story.launches(0))
    other = {"/a": "/b", "/b": "/a"}[first.directory]

    again = story.happens(SlotAnswered(0, AttemptBroke(attempt(0), BAD, first.directory)))

    assert ExcludeDirectory(first.directory, BAD.message) in again
    later = [
        request(again),
        request(story.launches(1)),
        request(story.answers(0, 0) + story.launches(2)),
    ]
    assert {one.directory for one in later} == {other}
    assert all(one.spill_directory.startswith(f"{other}/") for one in later)
    assert Send(AttemptStarted(attempt(0))) not in again


def test_corrupt_blocks_speak_against_the_directory_that_they_were_written_to() -> None:
    story = DisksStory("/a", "/b")
    written = [request(story.launches(0)), request(story.launches(1))]
    assert {one.directory for one in written} == {"/a", "/b"}
    for slot in (0, 1):
        story.answers(slot, slot)
    third = request(story.launches(2))
    story.answers(0, 2)
    mates = [one.attempt for one in (*written, third) if one.directory == third.directory]

    assert story.happens(BlocksCorrupt(mates[0])) == []
    (excluded,) = story.happens(BlocksCorrupt(mates[1]))

    assert isinstance(excluded, ExcludeDirectory)
    assert excluded.directory == third.directory
    assert story.happens(BlocksCorrupt(attempt(99))) == []


def test_who_finds_no_room_to_spill_tries_another_disk_and_then_all_of_the_memory() -> None:
    story = DisksStory("/a", "/b")
    first = request(story.launches(0))
    little = Failure(FailureKind.OUT_OF_MEMORY, "there is no room to spill to /a/spill-0")

    second = request(story.happens(SlotAnswered(0, AttemptBroke(attempt(0), little, "/a"))))
    third = request(story.happens(SlotAnswered(0, AttemptBroke(attempt(0), little, "/b"))))

    assert (first.spill_directory, second.spill_directory) == ("/a/spill-0", "/b/spill-0")
    assert second.memory_bytes == first.memory_bytes < third.memory_bytes
