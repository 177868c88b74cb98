"""An error names the thing, and says what to do next."""

from __future__ import annotations

import pytest

from flowgrid import errors


def test_an_unknown_column_comes_with_near_names_and_those_there_are() -> None:
    error = errors.ColumnNotFoundError("Totl", ["key", "total", "tally"], where="orders")
    assert error.near[0] == "total"
    assert "unknown column 'Totl' in orders" in str(error)
    assert "did you mean 'total'" in str(error)
    assert "key, total, tally" in str(error)


def test_a_wide_table_does_not_fill_the_screen() -> None:
    error = errors.ColumnNotFoundError("zzz", [f"column_{i}" for i in range(500)])
    assert len(str(error)) < 500
    assert str(error).endswith("…)")


def test_a_syntax_error_has_a_position_where_there_is_one() -> None:
    assert "at line 3, column 5" in str(errors.SqlSyntaxError("odd word", 3, 5))
    assert str(errors.SqlSyntaxError("odd word")) == "SQL syntax error: odd word"


@pytest.mark.parametrize("kind", [kind for kind in vars(errors).values() if isinstance(kind, type)])
def test_every_error_is_caught_by_its_root(kind: type) -> None:
    assert issubclass(kind, errors.FlowGridError) or kind.__module__ != errors.__name__
