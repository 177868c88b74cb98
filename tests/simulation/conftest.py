"""The fixture `story` of the scheduler's tests: told again, it must give the same state."""

from __future__ import annotations

from tests.scheduler.conftest import story

__all__ = ["story"]
