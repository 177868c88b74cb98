"""The rules together: whatever the plan, the same rows under the same names."""

from __future__ import annotations

import random
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowgrid.api.sql import bind
from flowgrid.logical.explain import explain
from flowgrid.logical.nodes import Join, JoinKind, KernelQuery, Node
from flowgrid.logical.rendering import topological
from flowgrid.logical.schema import describe
from flowgrid.optimizer.optimizer import optimize
from tests.optimizer.plans import Grammar, Row, assert_same_rows, execute, scan_of

QUERIES = Path(__file__).parents[2] / "benchmarks" / "tpch" / "queries"


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_any_plan_means_the_same_after_optimisation(seed: int, depth: int) -> None:
    plan = Grammar(random.Random(seed)).plan(depth)
    assert_same_rows(plan, optimize(plan))


@pytest.fixture(scope="module")
def tables(tpch_data: Path) -> dict[str, Node]:
    return {
        path.stem: scan_of(path, describe(f"FROM '{path}'")) for path in tpch_data.glob("*.parquet")
    }


@pytest.mark.parametrize("number", range(1, 23))
def test_tpch_is_answered_alike_without_a_product_of_tables(
    tables: dict[str, Node], number: int
) -> None:
    query = bind((QUERIES / f"q{number:02d}.sql").read_text(), tables)
    assert query.bound is not None, query.reason
    started = time.process_time()
    plan = optimize(query)
    seconds = time.process_time() - started

    assert not any(isinstance(node, KernelQuery) for node in topological(plan))
    assert rounded(execute(plan)) == rounded(execute(query))
    products = [node for node in topological(plan) if isinstance(node, Join)]
    assert all(node.kind is not JoinKind.CROSS for node in products), explain(plan)
    assert seconds < 0.25, "an order of magnitude above what it takes, for slow machines"


def rounded(rows: list[Row]) -> Counter[Row]:
    """The rows with floats to nine digits: sums depend on their order."""
    return Counter(
        tuple(f"{value:.9g}" if isinstance(value, float) else value for value in row)
        for row in rows
    )
