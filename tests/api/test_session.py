"""Where queries start."""

from __future__ import annotations

import subprocess
import sys

import pyarrow as pa
import pytest

import flowgrid as fg
from flowgrid.api.session import Session
from tests.reference import ReferenceEngine

COVERS = ["engine", "catalog"]


def test_ranges_are_pythons(session: Session) -> None:
    for arguments in ((5,), (2, 5), (5, 0, -2), (3, 3)):
        assert session.range(*arguments).collect()["id"].to_pylist() == list(range(*arguments))
    assert session.range(2, name="n").columns == ["n"]
    with pytest.raises(fg.PlanError, match="step"):
        session.range(0, 1, 0)


def test_tables_have_names_in_any_case(session: Session) -> None:
    session.register("Orders", session.range(3))
    session.register("arrow", pa.table({"a": [1]}))

    assert session.table("orders").count() == 3
    assert session.table("ARROW").columns == ["a"]
    with pytest.raises(fg.PlanError, match="unknown table 'order'; did you mean 'Orders'"):
        session.table("order")
    with pytest.raises(fg.PlanError, match="needs a name"):
        session.register("", session.range(3))


def test_a_name_can_be_given_again(session: Session) -> None:
    session.register("t", session.range(3))
    session.register("T", session.range(5))

    assert session.table("t").count() == 5


def test_sql_reads_registered_frames(session: Session) -> None:
    session.register("numbers", session.range(10).filter("id > 4"))

    assert session.sql("SELECT count(*) AS n FROM Numbers WHERE id < 8").to_pylist() == [{"n": 3}]
    assert session.sql("SELECT count(*) AS n FROM numbers WHERE id > ?", [8]).to_pylist() == [
        {"n": 1}
    ]


def test_leaving_a_session_closes_its_engine() -> None:
    closed = []

    class Closing(ReferenceEngine):
        def close(self) -> None:
            closed.append(True)

    with Session(Closing()):
        pass

    assert closed == [True]


def test_a_wrong_master_or_setting_starts_nothing() -> None:
    with pytest.raises(fg.ConfigError, match="unknown master 'locl'"):
        fg.connect("locl")
    with pytest.raises(fg.ConfigError, match=r"unknown setting 'executor\.memry'"):
        fg.connect("local", conf={"executor.memry": "4g"})
    with pytest.raises(fg.ConfigError, match="expected a whole number"):
        fg.connect("local", conf={"task.attempts_max": "many"})


def heavy_imports(statement: str) -> set[str]:
    """Which of the slow libraries a fresh process has after a statement."""
    code = f"import sys; {statement}; print(*{{m.partition('.')[0] for m in sys.modules}})"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(out.stdout.split()) & {"sqlglot", "pyarrow", "duckdb", "numpy", "fsspec", "zmq"}


def test_importing_flowgrid_imports_nothing_slow() -> None:
    assert heavy_imports("import flowgrid") == set()
    assert heavy_imports("from flowgrid import connect, Session, PlanError") == set()
    assert heavy_imports("from flowgrid import col; col('a') + 1") == {"sqlglot"}


def test_the_engine_comes_before_what_plans_queries() -> None:
    slow = heavy_imports("import flowgrid.submit.execution")

    assert slow & {"sqlglot", "pyarrow", "duckdb", "numpy", "fsspec"} == set()


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'colum'"):
        fg.colum  # noqa: B018
