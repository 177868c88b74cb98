"""The user's own code may do anything: it costs its job, never the session."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pyarrow as pa
import pytest

import flowgrid as fg
from flowgrid import errors
from tests.cluster.census import Premises
from tests.cluster.deadlines import eventually
from tests.cluster.drivers import Driver
from tests.cluster.standalone import standalone

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


class Unspeakable(Exception):
    """Nobody can pickle it, nor say what it is."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def __str__(self) -> str:
        raise RuntimeError("not even its text")


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


def test_ctrl_c_inside_a_function_is_an_error_of_the_function(session: fg.Session) -> None:
    def interrupts(batch: pa.RecordBatch) -> pa.RecordBatch:
        raise KeyboardInterrupt

    with pytest.raises(errors.UserCodeError, match="KeyboardInterrupt"):
        run(session, interrupts)
    require_usable(session)


def test_an_exception_that_can_be_neither_pickled_nor_printed_comes_by_its_name(
    session: fg.Session,
) -> None:
    def fails(batch: pa.RecordBatch) -> pa.RecordBatch:
        raise Unspeakable

    with pytest.raises(errors.UserCodeError, match="Unspeakable"):
        run(session, fails)
    require_usable(session)


def test_nothing_of_an_exception_runs_in_the_driver(session: fg.Session, tmp_path: Path) -> None:
    bitten = tmp_path / "bitten"

    class Bites(Exception):
        def __reduce__(self) -> tuple[object, ...]:
            return open, (str(bitten), "w")

    def bites(batch: pa.RecordBatch) -> pa.RecordBatch:
        raise Bites("the hand that unpickles")

    with pytest.raises(errors.UserCodeError, match="the hand that unpickles"):
        run(session, bites)
    assert not bitten.exists()
    require_usable(session)


FATAL = [signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT]


@pytest.mark.parametrize("number", FATAL)
def test_a_process_that_dies_once_costs_an_attempt_and_no_answer(
    session: fg.Session, tmp_path: Path, number: signal.Signals
) -> None:
    died = str(tmp_path / "died")

    def dies_once(batch: pa.RecordBatch) -> pa.RecordBatch:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(died, os.O_CREAT | os.O_EXCL))
            os.kill(os.getpid(), number)
        return doubled(batch)

    assert sorted(run(session, dies_once)["n"].to_pylist()) == list(range(0, 20_000, 2))
    assert os.path.exists(died)


HANGS = """
import ctypes, os, pathlib, sys
import pyarrow as pa
import flowgrid as fg

address, begun = sys.argv[1:]

def hangs(batch):
    pathlib.Path(begun).write_text(str(os.getpid()))
    ctypes.PyDLL(None).pause()  # in C, and no other thread of Python runs meanwhile

with fg.connect(address) as session:
    session.range(10).map_batches(hangs, schema=pa.schema({"id": pa.int64()})).collect()
"""


def test_a_function_that_hangs_in_c_with_the_interpreters_lock_ends_with_ctrl_c(
    premises: Premises, tmp_path: Path
) -> None:
    begun = tmp_path / "begun"
    with standalone(premises, executors=1) as cluster:
        with Driver(HANGS, premises, cluster.address, str(begun)) as driver:
            eventually("the function runs", lambda: driver.reaches(begun), within_s=30)
            slot = int(eventually("it says who runs it", begun.read_text))
            driver.process.send_signal(signal.SIGINT)
            eventually("nobody runs it", lambda: not psutil.pid_exists(slot), within_s=5)
            assert driver.process.wait(20) != 0
        with fg.connect(cluster.address) as session:
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
