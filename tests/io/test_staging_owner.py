"""An owner that lives is known to live, one that died is known to be gone, and of others nothing is."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

from flowgrid.io.staging_owner import OWNER_FILE, Claim, Life, life_of, owner_of


def test_an_owner_lives_until_it_lets_go(tmp_path: Path) -> None:
    place = str(tmp_path / "place")
    claim = Claim(place, ("a", "b"))
    assert life_of(place) is Life.ALIVE
    owner = owner_of(place)
    assert owner is not None
    assert (owner.process, owner.made) == (os.getpid(), ("a", "b"))
    claim.release()
    claim.release()
    assert life_of(place) is Life.GONE


def test_an_owner_that_is_killed_is_gone_at_once(tmp_path: Path) -> None:
    place = str(tmp_path / "place")
    child = os.fork()
    if not child:
        _held = Claim(place, ())
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    assert life_of(place) is Life.GONE


def test_of_another_machine_nothing_is_known(tmp_path: Path) -> None:
    place = str(tmp_path / "place")
    Claim(place, ()).release()
    file = Path(place, OWNER_FILE)
    file.write_text(json.dumps({**json.loads(file.read_text()), "machine": "another"}))
    assert life_of(place) is Life.UNKNOWN


def test_a_place_that_says_nothing_is_anybodys(tmp_path: Path) -> None:
    assert owner_of(str(tmp_path)) is None
    (tmp_path / OWNER_FILE).write_text("{")
    assert life_of(str(tmp_path)) is Life.UNKNOWN
