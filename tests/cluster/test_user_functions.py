"""The user's own code may do anything: it costs its job, never the session."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable, Iterator

import pyarrow as pa
import pytest

import flowgrid as fg
from flowgrid import errors
from tests.cluster.census import Premises

pytestmark = pytest.mark.xdist_group("user-functions")

SCHEMA = pa.schema({"n": pa.int64()})

Function = Callable[[pa.RecordBatch], pa.RecordBatch]


@pytest.fixture(scope="module")
def session(shared_premises: Premises) -> Iterator[fg.Session]:
    with fg.connect("local-cluster[2,1,1024]") as opened:
        yield opened


def run(session: fg.Session, function: Function) -> pa.Table:
    return session.range(10_000).map_batches(function, schema=SCHEMA).collect()


def require_usable(session: fg.Session) -> None:
    assert session.range(1_000).count() == 1_000


def doubled(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.record_batch({"n": [2 * n for n in batch.column(0).to_pylist()]}, schema=SCHEMA)


def divides(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.record_batch({"n": [1 // (n - n) for n in batch.column(0).to_pylist()]})


def exits(batch: pa.RecordBatch) -> pa.RecordBatch:
    sys.exit("enough of this")


def vanishes(batch: pa.RecordBatch) -> pa.RecordBatch:
    os._exit(3)


def segfaults(batch: pa.RecordBatch) -> pa.RecordBatch:
    ctypes.string_at(0)
    return batch


def lies(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.record_batch({"other": ["text"]})


def test_a_function_sees_every_row_once(session: fg.Session) -> None:
    assert sorted(run(session, doubled)["n"].to_pylist()) == list(range(0, 20_000, 2))


def test_an_exception_comes_back_with_the_users_own_lines(session: fg.Session) -> None:
    with pytest.raises(errors.UserCodeError, match="ZeroDivisionError") as caught:
        run(session, divides)
    assert "in divides" in str(caught.value)
    assert os.path.basename(__file__) in str(caught.value)
    require_usable(session)


def test_sys_exit_is_an_error_of_the_function(session: fg.Session) -> None:
    with pytest.raises(errors.UserCodeError, match="enough of this"):
        run(session, exits)
    require_usable(session)


@pytest.mark.parametrize("function", [vanishes, segfaults])
def test_a_function_that_kills_its_process_is_called_poison(
    session: fg.Session, function: Function
) -> None:
    with pytest.raises(errors.JobError, match="process") as caught:
        run(session, function)
    assert caught.value.kind
    require_usable(session)


def test_a_result_that_is_not_of_the_promised_schema_is_named(session: fg.Session) -> None:
    with pytest.raises(errors.JobError, match="other"):
        run(session, lies)
    require_usable(session)
