"""Golden files: a change of plan is a diff that somebody reads. `pytest --update-golden` writes them."""

from __future__ import annotations

import difflib
from pathlib import Path

import pytest

GOLDEN = Path(__file__).parents[1] / "golden"

SLOTS = (2, 6)
"""Of the two clusters that the files are for."""


def require_as_before(name: str, stages: str, pytestconfig: pytest.Config) -> None:
    """Fails with the difference unless the file `name` holds exactly these stages."""
    stages += "\n"
    golden = GOLDEN / name
    if pytestconfig.getoption("--update-golden"):
        golden.parent.mkdir(parents=True, exist_ok=True)
        golden.write_text(stages, encoding="utf-8")
    before = golden.read_text(encoding="utf-8") if golden.exists() else ""
    change = difflib.unified_diff(before.splitlines(), stages.splitlines(), "before", "now", "", "")
    assert before == stages, "\n".join(["read the diff, then --update-golden", *change])
