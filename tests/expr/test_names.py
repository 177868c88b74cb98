"""From written names to columns."""

from __future__ import annotations

import pytest

from flowgrid.errors import ColumnNotFoundError, PlanError
from flowgrid.expr.names import column_named, fresh_names, resolve
from flowgrid.expr.tree import parse, to_sql


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("a + B", '"a" + "b"'),
        ('"Two Words" * 2', '"Two Words" * 2'),
        ("s.f.g", '(("s")."f")."g"'),
        ("list_transform(b, i -> i + a)", 'LIST_TRANSFORM("b", LAMBDA i : i + "a")'),
        ("[i + a FOR i IN b]", '[i + "a" FOR i IN "b"]'),
        ("sum(A) OVER (PARTITION BY b)", 'SUM("a") OVER (PARTITION BY "b")'),
    ],
)
def test_every_column_gets_its_own_spelling_and_quotes(written: str, meant: str) -> None:
    assert to_sql(resolve(parse(written), ["a", "b", "s", "Two Words"])) == meant


def test_an_exact_name_wins_over_one_in_another_case() -> None:
    assert column_named("A", ["a", "A"]) == "A"


def test_an_unknown_column_offers_near_names() -> None:
    with pytest.raises(ColumnNotFoundError, match="did you mean 'price'") as caught:
        resolve(parse("pric + 1"), ["price", "amount"], "select")

    assert caught.value.name == "pric"
    assert caught.value.near == ["price"]


def test_what_is_no_value_of_a_row_is_refused() -> None:
    with pytest.raises(PlanError, match="subquery"):
        resolve(parse("a > (SELECT 1)"), ["a"])
    with pytest.raises(PlanError, match="explode"):
        resolve(parse("unnest(a)"), ["a"])


def test_resolving_changes_nothing_in_place() -> None:
    given = parse("a + 1")

    resolve(given, ["A"])

    assert to_sql(given) == "a + 1"


def test_fresh_names_are_nobodys() -> None:
    assert fresh_names("w", 2, ["a", "#W0"]) == ["#w1", "#w2"]
