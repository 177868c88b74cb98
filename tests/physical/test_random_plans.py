"""Whatever the program, stages give the rows that one kernel gives."""

from __future__ import annotations

import os
import random
import tempfile
from collections import Counter
from pathlib import Path
from typing import TypeAlias

from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st

from flowgrid.api.session import Session
from flowgrid.logical.explain import explain
from flowgrid.optimizer.optimizer import optimize
from tests import reference
from tests.physical.conftest import rows_of
from tests.physical.random_programs import Programs
from tests.stage_runner import StageRunner

EXAMPLES = int(os.environ.get("FLOWGRID_RANDOM_PLANS", "120"))
"""The gate runs the same programs always; with a number in the environment so many new ones are
drawn, and a failing one is made small."""

Conf: TypeAlias = dict[str, object]

SHAPES: list[Conf] = [
    {"planner.force_exchanges": True},
    {},
    # Some relations are small by these limits and some are not: decisions from real sizes.
    {
        "planner.target_partition_bytes": 200,
        "planner.broadcast_bytes_max": 300,
        "planner.reduce_bytes_min": 0,
    },
]

EXPLORING = "FLOWGRID_RANDOM_PLANS" in os.environ


@settings(
    max_examples=EXAMPLES,
    derandomize=not EXPLORING,
    phases=[Phase.generate, Phase.shrink] if EXPLORING else [Phase.generate],
    database=None,
    deadline=None,
    print_blob=True,
    suppress_health_check=list(HealthCheck),
)
@given(
    st.integers(0, 2**32),
    st.integers(3, 8),
    st.integers(2, 4),
    st.sampled_from(SHAPES),
    st.booleans(),
)
def test_any_program_has_one_answer(
    seed: int, verbs: int, slots: int, shape: Conf, optimized: bool
) -> None:
    programs = Programs(random.Random(seed), Session(reference.ReferenceEngine()))
    plan = programs.program(verbs).node
    note(explain(plan))
    wanted = Counter(rows_of(reference.run(plan)))
    conf: Conf = {"planner.partitions": 3, **shape}
    with tempfile.TemporaryDirectory() as folder:
        runner = StageRunner(Path(folder), slots, conf, partition_bytes=64)
        try:
            found = Counter(rows_of(runner.run(optimize(plan) if optimized else plan)))
        finally:
            note(runner.stages if runner.planner else "")
    assert found == wanted
