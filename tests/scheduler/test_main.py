"""The end of a scheduler that was owned: nothing stays, however busy others still are."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

from flowgrid_scheduler.__main__ import _remove_when_alone


def test_a_directory_into_which_somebody_still_writes_goes_as_a_whole(tmp_path: Path) -> None:
    directory = tmp_path / "flowgrid-1"
    directory.mkdir()
    begun = threading.Event()

    def starts_late() -> None:
        for number in itertools.count():
            try:
                (directory / str(number)).touch()
            except FileNotFoundError:
                return
            begun.set()

    late = threading.Thread(target=starts_late)
    late.start()
    begun.wait()
    _remove_when_alone(directory)
    late.join()
    assert list(tmp_path.iterdir()) == []
