"""The stages of the TPC-DS queries as text, planned from statistics alone: nothing runs.

The data is a hundredth of scale 1 and less, and so are the planner's limits: what is broadcast and what
meets by hash are what they would be there.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.tpcds.texts import ALL, query_text
from flowgrid.api.session import Session
from flowgrid.config import Config
from flowgrid.logical.nodes import Node
from flowgrid.optimizer.optimizer import optimize
from flowgrid.physical.layout import Shape
from flowgrid.physical.rehearsal import rehearse
from tests.physical.golden import SLOTS, require_as_before
from tests.reference import ReferenceEngine

CONFIG = Config.parse(
    {
        "planner.split_bytes": "64KiB",
        "planner.target_partition_bytes": "64KiB",
        "planner.broadcast_bytes_max": "64KiB",
    }
)


@pytest.fixture(scope="module")
def plan_of(tpcds_data: Path, tpcds_tables: dict[str, Path]) -> Callable[[int], Node]:
    session = Session(ReferenceEngine())
    for name, path in tpcds_tables.items():
        session.register(name, session.read_parquet(str(path)))
    return functools.cache(
        lambda number: optimize(session.sql(query_text(number, tpcds_data)).node)
    )


@pytest.mark.parametrize("slots", SLOTS)
@pytest.mark.parametrize("number", ALL, ids="q{:02d}".format)
def test_the_stages_of_a_query_are_as_they_were(
    number: int,
    slots: int,
    plan_of: Callable[[int], Node],
    tpcds_tables: dict[str, Path],
    pytestconfig: pytest.Config,
) -> None:
    stages = rehearse(plan_of(number), Shape(slots, CONFIG))
    stages = stages.replace(f"{tpcds_tables['item'].parent}/", "")
    require_as_before(f"tpcds/q{number:02d}.{slots}-slots.stages", stages, pytestconfig)
