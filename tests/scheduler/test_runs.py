"""Drivers that go on from each other are one run, by whose name they know what they have published."""

from __future__ import annotations

from flowgrid_scheduler.events import SessionUnreachable
from flowgrid_scheduler.snapshots import snapshot

from flowgrid.config import Config
from flowgrid.protocol.messages import CloseSession, OpenSession, SessionOpened
from tests.scheduler.story import VERSIONS, Story, sent_to_drivers
from tests.scheduler.test_program_drivers import FIRST, SECOND, connects, submits
from tests.scheduler.test_snapshots import next_scheduler


def opens(story: Story, session: str, resume: str = "nightly") -> str:
    """A driver comes; returns its run."""
    conf = {"resume.name": resume} if resume else {}
    word = OpenSession(session, "app", VERSIONS, conf)
    (opened,) = sent_to_drivers(story.driver_says(word, session=session), SessionOpened)
    return opened.run


def test_a_driver_that_goes_on_from_a_dead_one_is_part_of_its_run(story: Story) -> None:
    first = opens(story, "1" * 32)
    story.happens(SessionUnreachable("1" * 32))  # and it has nothing that could be kept
    assert opens(story, "2" * 32) == first
    story.happens(SessionUnreachable("2" * 32))
    story.time_passes(0.5)
    assert list(story.core.state.sessions.lost) == ["2" * 32], "its predecessor is forgotten"
    assert opens(story, "3" * 32, resume="daily") != first
    assert opens(story, "4" * 32) == first


def test_a_driver_whose_death_was_not_noticed_yet_is_gone_on_from(story: Story) -> None:
    first = opens(story, "1" * 32)
    assert opens(story, "2" * 32) == first


def test_an_end_in_good_order_ends_the_run(story: Story) -> None:
    first = opens(story, "1" * 32)
    story.happens(SessionUnreachable("1" * 32))
    assert opens(story, "2" * 32) == first
    story.driver_says(CloseSession(), session="2" * 32)
    assert opens(story, "3" * 32) != first


def test_a_run_that_nobody_goes_on_with_is_forgotten(story: Story) -> None:
    first = opens(story, "1" * 32)
    story.happens(SessionUnreachable("1" * 32))
    story.time_passes(Config().resume_keep_s + 1)
    assert opens(story, "2" * 32) != first


def test_without_a_resume_name_there_is_no_run(story: Story) -> None:
    assert opens(story, "1" * 32, resume="") == ""


def test_all_sessions_of_all_drivers_of_a_program_are_one_run(story: Story) -> None:
    story.joins("a")
    submits(story)
    runs = set()
    for driver, session in ((FIRST, "1" * 32), (FIRST, "2" * 32), (SECOND, "3" * 32)):
        if driver is SECOND:
            story.happens(SessionUnreachable("2" * 32))
            story.forgets("a")
            story.joins("b").hangs_up("a")
        (opened,) = sent_to_drivers(connects(story, driver, session), SessionOpened)
        runs.add(opened.run)
        if session[0] == "1":
            story.driver_says(CloseSession(), session=session)
    assert len(runs) == 1
    assert runs != {""}


def test_the_next_scheduler_knows_the_runs(story: Story) -> None:
    first = opens(story, "1" * 32)
    story.happens(SessionUnreachable("1" * 32))
    successor = next_scheduler(snapshot(story.core.state), story.config)
    assert successor.state.sessions.last_run("nightly") == first
