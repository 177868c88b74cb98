"""The stages of the TPC-H queries as text."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from benchmarks.datasets import TPCH_TABLES
from benchmarks.tpch.texts import ALL, query_text
from flowgrid.api.session import Session
from flowgrid.config import Config
from flowgrid.logical.nodes import Node
from flowgrid.optimizer.optimizer import optimize
from flowgrid.physical.layout import Shape
from flowgrid.physical.rehearsal import rehearse
from tests.physical.golden import SLOTS, require_as_before
from tests.reference import ReferenceEngine
from tests.stage_runner import StageRunner


@functools.cache
def session_over(data: Path) -> Session:
    session = Session(ReferenceEngine())
    for table in TPCH_TABLES:
        session.register(table, session.read_parquet(str(data / f"{table}.parquet")))
    return session


def plan_of(number: int, data: Path) -> Node:
    return optimize(session_over(data).sql(query_text(number)).node)


@pytest.mark.parametrize("slots", SLOTS)
@pytest.mark.parametrize("number", ALL, ids="q{:02d}".format)
def test_the_stages_of_a_query_are_as_they_were(
    number: int, slots: int, tpch_data: Path, pytestconfig: pytest.Config
) -> None:
    stages = rehearse(plan_of(number, tpch_data), Shape(slots, Config()))
    stages = stages.replace(f"{tpch_data}/", "")
    require_as_before(f"tpch/q{number:02d}.{slots}-slots.stages", stages, pytestconfig)


@pytest.mark.parametrize("slots", SLOTS)
@pytest.mark.parametrize("number", ALL, ids="q{:02d}".format)
def test_no_query_gathers_a_table_in_one_task(
    number: int, slots: int, tpch_data: Path, tmp_path: Path
) -> None:
    """By real sizes: only the last sort or limit may see all rows of anything large in one task."""
    runner = StageRunner(tmp_path, slots)
    runner.run(plan_of(number, tpch_data))
    assert "gathered to one task" not in runner.stages
