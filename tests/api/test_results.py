"""What becomes of a job's result."""

from __future__ import annotations

from typing import Any

import pytest

from flowgrid.api import results
from flowgrid.api.session import Session
from tests.reference import ReferenceEngine, ReferenceResult


class Releasing(ReferenceResult):
    """A result that says when it was released."""

    released = 0

    def __exit__(self, *_: object) -> None:
        Releasing.released += 1


class ReleasingEngine(ReferenceEngine):
    def run(self, plan: Any) -> ReferenceResult:
        return Releasing(super().run(plan)._table)


@pytest.fixture
def engine() -> ReleasingEngine:
    Releasing.released = 0
    return ReleasingEngine()


def test_a_collected_result_is_released(engine: ReleasingEngine) -> None:
    results.collect(engine, Session(engine).range(3).node)

    assert Releasing.released == 1


def test_a_stream_is_released_at_its_end_or_when_it_is_dropped(engine: ReleasingEngine) -> None:
    node = Session(engine).range(3).node

    for _ in results.iter_batches(engine, node):
        assert Releasing.released == 0
    assert Releasing.released == 1

    stream = results.iter_batches(engine, node)
    next(stream)
    stream.close()  # type: ignore[attr-defined]
    assert Releasing.released == 2


def test_an_arrow_stream_is_released_at_its_end(engine: ReleasingEngine) -> None:
    reader = results.reader(engine, Session(engine).range(3).node)
    assert Releasing.released == 0

    assert reader.read_all().num_rows == 3
    assert Releasing.released == 1


def test_a_missing_library_is_named_with_its_extra(
    engine: ReleasingEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "polars", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install 'flowgrid-engine\[polars\]'"):
        results.to_polars(results.collect(engine, Session(engine).range(3).node))
