"""Estimates follow footers and sizes of what has run, and are near enough to choose a join by."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from flowgrid.logical.nodes import IntegerRange, Leaf, Limit, Node, Union
from flowgrid.optimizer.estimates import Estimator, Size, estimate
from flowgrid.physical.aggregation import fold
from flowgrid.protocol.fragment import Field
from tests.optimizer.plans import aggregate, execute, given, join, project, scan, where

COVERS = ["join_estimates", "selectivity"]


def orders(folder: Path) -> Node:
    return scan(
        folder, "o", 3000, key="i * 4", customer="(i * 7919) % 200",
        date="DATE '1992-01-01' + CAST(i % 1500 AS INTEGER)", price="CAST(i AS DECIMAL(15, 2))",
        comment="CASE WHEN i % 3 = 0 THEN NULL ELSE 'text ' || i END",
    )  # fmt: skip


def items(folder: Path) -> Node:
    return scan(folder, "l", 12000, key="(i // 4) * 4", line="i % 4", part="(i * 31) % 500")


def test_rows_and_widths_of_files_are_those_of_their_footers(tmp_path: Path) -> None:
    size = estimate(orders(tmp_path))
    assert size.rows == 3000
    assert size.bytes == 3000 * (8 + 8 + 4 + 8 + 24)


def test_a_range_counts_its_numbers_and_nothing_is_scaled_down_to_nothing() -> None:
    numbers = IntegerRange((Field("n", "BIGINT"),), 0, 100, 3)
    assert estimate(numbers) == Size(34, 34 * 8)
    assert estimate(where(numbers, "n < 50")).rows == pytest.approx(17, abs=2)
    assert estimate(Limit(numbers, 10, 30)).rows == 4
    assert estimate(Union((numbers, numbers))).rows == 68


@dataclass(frozen=True, eq=False)
class _Read(Leaf):
    exact_size: Size


def test_exact_sizes_win_and_spread_upwards(tmp_path: Path) -> None:
    table = orders(tmp_path)
    few = where(table, '"o.price" < 0')
    above = project(few, key='"o.key"')
    assert estimate(above).rows <= 1
    exact = Estimator({few: Size(1000, 52_000)})
    assert exact.size(few) == Size(1000, 52_000)
    assert exact.size(above).rows == 1000
    assert exact.size(above).bytes == pytest.approx(8000)
    read = _Read((Field("a", "BIGINT"), Field("b", "VARCHAR")), Size(10, 1000))
    assert estimate(read) == Size(10, 1000)
    assert estimate(where(read, "a = 1")).rows <= 10
    assert estimate(project(read, a="a")).bytes == pytest.approx(10 * 8 * 1000 / 320)


@pytest.mark.parametrize(
    "predicate",
    [
        "\"o.date\" >= CAST('1993-01-01' AS DATE)",
        "\"o.date\" >= CAST('1993-01-01' AS DATE) "
        "AND \"o.date\" < CAST('1994-01-01 00:00:00' AS TIMESTAMP)",
        "\"o.date\" BETWEEN CAST('1993-01-01' AS DATE) AND CAST('1993-03-01' AS DATE)",
        '"o.customer" = 5',
        '"o.customer" IN (1, 2, 3)',
        '"o.customer" = 5 OR "o.customer" = 6',
        'NOT "o.customer" = 5',
        '"o.price" > 2900.5',
        '2900 < "o.price"',
        '"o.comment" IS NULL',
        '"o.comment" IS NOT NULL',
        '"o.customer" = 1000',
        '"o.customer" <> 5',
    ],
)  # fmt: skip
def test_what_footers_bound_is_estimated_well(tmp_path: Path, predicate: str) -> None:
    plan = where(orders(tmp_path), predicate)
    assert estimate(plan).rows == pytest.approx(len(execute(plan)), rel=0.2, abs=15)


def test_what_nobody_knows_is_a_guess_between_none_and_all(tmp_path: Path) -> None:
    for predicate in ("\"o.comment\" LIKE '%x%'", "\"o.comment\" = 'a'", 'length("o.comment") = 7'):
        assert 0 < estimate(where(orders(tmp_path), predicate)).rows < 3000


@pytest.mark.parametrize("kind", ["inner", "left", "right", "full", "semi", "anti"])
def test_a_join_from_foreign_key_to_key_is_as_large_as_it_is(tmp_path: Path, kind: str) -> None:
    dated = where(orders(tmp_path), "\"o.date\" < CAST('1993-01-01' AS DATE)")
    plan = join(items(tmp_path), dated, kind, '"l.key" = "o.key"')
    assert estimate(plan).rows == pytest.approx(len(execute(plan)), rel=0.3)


def test_keys_of_several_columns_count_together(tmp_path: Path) -> None:
    pairs = scan(tmp_path, "p", 2000, part="i % 500", line="i // 500")
    both = join(items(tmp_path), pairs, "inner", '"l.part" = "p.part" AND "l.line" = "p.line"')
    assert estimate(both).rows == pytest.approx(len(execute(both)), rel=0.3)


def test_ranges_that_do_not_meet_join_to_little(tmp_path: Path) -> None:
    few = scan(tmp_path, "f", 25, key="i")
    plan = join(items(tmp_path), few, "inner", '"l.key" = "f.key"')
    assert estimate(plan).rows == pytest.approx(len(execute(plan)), rel=1.5)


def test_groups_are_as_many_as_keys_can_differ(tmp_path: Path) -> None:
    by_part = aggregate(items(tmp_path), ["l.part"], n="count(*)")
    assert estimate(by_part).rows == 500
    assert estimate(aggregate(items(tmp_path), [], n="count(*)")).rows == 1
    few = where(items(tmp_path), '"l.key" < 40')
    assert estimate(aggregate(few, ["l.part"], n="count(*)")).rows < 60
    joined = join(
        by_part, project(items(tmp_path), p='"l.part"', k='"l.key"'), "inner", '"l.part" = p'
    )
    assert estimate(joined).rows == pytest.approx(12000, rel=0.1)


def test_an_empty_table_has_no_rows_whatever_is_done() -> None:
    empty = given("e", [], k="INTEGER")
    assert (
        estimate(join(empty, given("f", [(1,)], k="INTEGER"), "inner", '"e.k" = "f.k"')).rows == 0
    )
    assert estimate(aggregate(empty, ["e.k"], n="count(*)")).rows == 0


def test_a_constant_is_one_value_whatever_it_is_compared_with(tmp_path: Path) -> None:
    table = scan(tmp_path, "t", 3000, kind="i % 2")
    assert estimate(where(table, '"t.kind" <> 1')).rows == pytest.approx(1500, rel=0.05)


def test_totals_meet_every_row_that_they_are_compared_beside(tmp_path: Path) -> None:
    totals = aggregate(items(tmp_path), [], rows="count(*)", parts='count("l.part")')
    met = join(orders(tmp_path), totals, "inner", '"rows" = "parts"')
    assert estimate(met).rows == pytest.approx(3000, rel=0.05)


def test_halves_of_a_fold_have_its_groups(tmp_path: Path) -> None:
    halves = fold(aggregate(items(tmp_path), ["l.part"], n="count(*)"))
    assert halves is not None
    assert estimate(halves.partial).rows == pytest.approx(500, rel=0.05)
