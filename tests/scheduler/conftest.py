"""The fixture `story`: a scheduler core to which things happen."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from flowgrid_scheduler.core import SchedulerCore

from tests.scheduler.story import IDENTITY, Story


@pytest.fixture
def story() -> Iterator[Story]:
    """A core without anybody in it. Told again, the same story must give the same state."""
    story = Story.with_defaults()
    yield story
    again = SchedulerCore(story.config, IDENTITY)
    for now, event in story.told:
        again.handle(event, now)
    assert again.digest() == story.core.digest(), "the same story, another state"
