"""Frames for people."""

from __future__ import annotations

import pyarrow as pa
import pytest

from flowgrid.api.display import schema_html, schema_text, show
from flowgrid.protocol.fragment import Field


def test_a_schema_is_text_and_html() -> None:
    fields = [Field("a<b", "BIGINT"), Field("t", "VARCHAR")]

    assert schema_text(fields) == "DataFrame[a<b: BIGINT, t: VARCHAR]"
    assert "<td>a&lt;b</td><td>BIGINT</td>" in schema_html(fields)


def test_rows_are_shown_as_they_are(capsys: pytest.CaptureFixture[str]) -> None:
    show(pa.table({"a": [1, None], "t": ["[bold]x", "y" * 100]}), more=False)

    shown = capsys.readouterr().out
    assert "NULL" in shown
    assert "[bold]x" in shown
    assert "y" * 39 + "…" in shown
    assert "first" not in shown
