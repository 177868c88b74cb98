"""Whatever is used with `with` is closed at the end of it."""

from __future__ import annotations

import pytest

from flowgrid.closing import Closing


class _Door(Closing):
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_leaving_closes_once_and_gives_the_thing_itself() -> None:
    door = _Door()
    with door as entered:
        assert entered is door
        assert door.closed == 0
    assert door.closed == 1


def test_an_error_closes_and_passes() -> None:
    door = _Door()
    with pytest.raises(KeyError), door:
        raise KeyError("lost")
    assert door.closed == 1
