"""The rules together: whatever the plan, the same rows under the same names."""

from __future__ import annotations

import random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowgrid.optimizer.optimizer import optimize
from tests.optimizer.plans import Grammar, assert_same_rows


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32), st.integers(1, 5))
def test_any_plan_means_the_same_after_optimisation(seed: int, depth: int) -> None:
    plan = Grammar(random.Random(seed)).plan(depth)
    assert_same_rows(plan, optimize(plan))
