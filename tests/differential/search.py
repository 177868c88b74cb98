"""Looks for a case that FlowGrid and DuckDB disagree on, and makes it small.

Everything follows from the seed and the number of examples: both repeat a search.
"""

from __future__ import annotations

import contextlib

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.differential.case import Case, Disagreement, KernelFailed, check, draw_case
from tests.differential.dice import Dice


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """Tables, a query over them and a cluster to run it, each as simple as may be where it fails."""
    return draw_case(Dice(lambda count: draw(st.integers(0, count - 1))))


def search(seed_: int, examples: int, small: bool = True) -> tuple[int, Disagreement | None]:
    """How many examples were run, and the disagreement that was found, as `small` as can be."""
    ran = 0

    @seed(seed_)
    @settings(
        max_examples=examples,
        phases=[Phase.generate, Phase.shrink] if small else [Phase.generate],
        database=None,
        deadline=None,
        print_blob=False,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
    )
    @given(cases())
    def run(case: Case) -> None:
        nonlocal ran
        ran += 1
        with contextlib.suppress(KernelFailed):
            check(case)

    try:
        run()
    except Disagreement as found:
        return ran, found
    return ran, None
