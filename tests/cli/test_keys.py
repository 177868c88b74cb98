"""`flowgrid keys`."""

from __future__ import annotations

from pathlib import Path

import pytest

from flowgrid.cli.main import main
from flowgrid.transport.security import Keys, Role


def test_keys_are_made_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "keys"

    assert main(["keys", str(folder)]) == 0
    assert set(Keys(folder, "submitter").allowed().values()) == set(Role)
    assert "submitter.key_secret" in capsys.readouterr().out

    assert main(["keys", str(folder)]) == 2
    assert "never overwritten" in capsys.readouterr().err


def test_a_place_where_nothing_can_be_made_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()

    assert main(["keys", str(tmp_path / "file/keys")]) == 2
    assert "cannot make keys in" in capsys.readouterr().err
