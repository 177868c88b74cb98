"""How rows are spread, what survives a projection, and in which type equal keys have equal hashes."""

from __future__ import annotations

import duckdb
import pytest

from flowgrid.expr.tree import column, parse, to_sql
from flowgrid.logical.nodes import Leaf, Named, Project
from flowgrid.physical.partitioning import (
    Hashed,
    Single,
    Spread,
    hash_expression,
    hash_type,
    key_text,
    through_project,
)
from flowgrid.protocol.fragment import Field

LEAF = Leaf((Field("a", "INTEGER"), Field("b", "INTEGER")))


def hashed(*alternatives: tuple[str, ...]) -> Hashed:
    keys = frozenset(tuple(key_text(column(name)) for name in one) for one in alternatives)
    return Hashed(keys, ("BIGINT",) * len(alternatives[0]), 8)


def project(**named: str) -> Project:
    return Project(LEAF, tuple(Named(name, parse(text)) for name, text in named.items()))


def test_rows_that_agree_on_more_than_the_keys_are_together_too() -> None:
    how = hashed(("a",), ("b",))
    assert how.groups_by(["A", "x"]), "names are compared without regard to case"
    assert how.groups_by(["b"])
    assert not how.groups_by(["x"])
    assert not hashed(("a", "b")).groups_by(["a"])


def test_a_renamed_key_is_still_the_key() -> None:
    project_ = Project(LEAF, (Named("k", column("a")), Named("v", parse("b + 1"))))
    assert through_project(hashed(("a",)), project_) == hashed(("k",))


def test_of_several_alternatives_those_stay_whose_columns_do() -> None:
    project_ = Project(LEAF, (Named("b", column("b")),))
    assert through_project(hashed(("a",), ("b",)), project_) == hashed(("b",))


def test_a_key_that_is_dropped_or_computed_leaves_rows_just_spread() -> None:
    assert through_project(hashed(("a",)), project(a="a + 1")) == Spread()
    assert through_project(hashed(("a", "b")), Project(LEAF, (Named("a", column("a")),))) == (
        Spread()
    )
    assert through_project(Single(), project(x="1")) == Single()


TYPES = ["TINYINT", "INTEGER", "UBIGINT", "HUGEINT", "FLOAT", "DOUBLE", "DECIMAL(9,2)",
         "DECIMAL(18,4)", "VARCHAR", "DATE", "TIMESTAMP"]  # fmt: skip


@pytest.mark.parametrize("left", TYPES)
@pytest.mark.parametrize("right", TYPES)
def test_equal_values_of_two_types_have_equal_hashes(left: str, right: str) -> None:
    wanted = hash_type(left, right)
    assert wanted == hash_type(right, left), "the order of the sides does not matter"
    if wanted is None:
        return
    text = "2024-01-31" if {left, right} & {"DATE", "TIMESTAMP"} else "3"
    sides = [
        to_sql(hash_expression([parse(f"'{text}'::{have}")], [have], [wanted]))
        for have in (left, right)
    ]
    assert duckdb.sql(f"SELECT {sides[0]} = {sides[1]}").fetchall() == [(True,)]


@pytest.mark.parametrize(("left", "right"), [("VARCHAR", "INTEGER"), ("DATE", "VARCHAR")])
def test_text_and_numbers_cannot_meet_by_hash(left: str, right: str) -> None:
    assert hash_type(left, right) is None


def test_a_value_that_does_not_fit_is_null_and_no_error() -> None:
    key = hash_expression([parse("1e300")], ["DOUBLE"], ["DECIMAL(38,2)"])
    assert duckdb.sql(f"SELECT {to_sql(key)} = hash(NULL)").fetchall() == [(True,)]
