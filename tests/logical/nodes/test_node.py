"""What every node is: inputs in order, the same verb over others, one query, unique names."""

from __future__ import annotations

import pytest

from flowgrid.errors import PlanError
from flowgrid.expr.tree import column, parse
from flowgrid.logical.nodes import (
    Filter,
    IntegerRange,
    Named,
    Project,
    SortKey,
    Union,
    unique_names,
)
from flowgrid.protocol.fragment import Field

COVERS = ["leaves"]


def numbers(name: str = "id") -> IntegerRange:
    return IntegerRange((Field(name, "BIGINT"),), 0, 10, 1)


def test_inputs_are_the_relations_in_the_order_of_the_fields() -> None:
    first, second = numbers(), numbers()
    assert Union((first, second)).inputs == (first, second)
    assert first.inputs == ()


def test_the_same_verb_over_other_relations() -> None:
    old, new = numbers(), numbers("other")
    verb = Union((old, old))
    assert verb.with_inputs([old, old]) is verb, "nothing changed, so it stays shared"
    changed = verb.with_inputs([new, old])
    assert changed.inputs == (new, old)
    assert changed.columns == ("other",)
    assert verb.inputs == (old, old)


def test_nodes_are_themselves_and_not_what_they_say() -> None:
    source = numbers()
    assert Filter(source, parse("id > 1")) != Filter(source, parse("id > 1"))


def test_a_name_is_said_once_when_it_is_the_same() -> None:
    assert Named("a", column("a")).shown() == "a"
    assert Named("b", column("a")).shown() == "a AS b"
    assert Named("b", parse("a + 1")).shown() == "a + 1 AS b"
    assert Named('x"y', column("a")).sql() == '"a" AS "x""y"'


def test_a_sort_key_always_says_where_nulls_go() -> None:
    assert SortKey(column("a")).sql() == '"a" ASC NULLS LAST'
    assert SortKey(column("a"), True, True).sql() == '"a" DESC NULLS FIRST'


def test_names_that_differ_only_in_case_are_the_same() -> None:
    assert unique_names(["a", "b"], "here") == ("a", "b")
    with pytest.raises(PlanError, match="here would have two columns named 'A'"):
        unique_names(["a", "A"], "here")
    with pytest.raises(PlanError, match="rename one of them"):
        Project(numbers(), (Named("x", column("id")), Named("X", column("id"))))


def test_leaves_tell_what_they_read() -> None:
    assert numbers().columns == ("id",)
    assert numbers().describe() == "IntegerRange 0..10 step 1"
