"""A real executor with its template and slots; the test holds the scheduler's end of the wire."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
import zmq
from flowgrid_executor.template_process import DEFAULT_RUNNER

from flowgrid.ids import AttemptId, JobId, StageId
from flowgrid.protocol.failures import FailureKind
from flowgrid.protocol.fragment import (
    BlocksOutput,
    Fragment,
    RangeLeaf,
    RangeSplit,
    SqlStep,
    TaskInputs,
)
from flowgrid.protocol.job_graph import OutputKind, StageSpec
from flowgrid.protocol.messages import (
    AttemptCancelled,
    AttemptStarted,
    AttemptSucceeded,
    CancelAttempts,
    DescribeStage,
    DropJob,
    ExecutorLeft,
    Fence,
    LaunchAttempts,
)
from flowgrid.protocol.versions import local_versions
from flowgrid.transport.block_client import BlockClient, verified
from flowgrid.transport.host import host_identity
from tests.cluster.census import Premises
from tests.cluster.deadlines import eventually
from tests.executor.wire import PATHS, WAIT_S, Wire

COVERS = ["scheduler_link", "slot_main", "template"]

pytestmark = pytest.mark.cluster


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    with zmq.Context() as context:
        wire = Wire(context, Premises(tmp_path / "premises"))
        try:
            yield wire
        finally:
            wire.close()
        # Its directory may be left: whoever kills an executor cleans up behind it.
        eventually("no process is left", lambda: not wire.premises.processes())


@pytest.fixture
def executor(wire: Wire) -> Wire:
    wire.start()
    wire.register()
    return wire


def test_it_says_who_it_is_where_its_blocks_are_and_what_it_has(wire: Wire) -> None:
    ready, ready_writer = os.pipe()
    wire.start("--ready-fd", str(ready_writer), pass_fds=[ready_writer])
    os.close(ready_writer)

    registered = wire.register()

    assert registered.versions == local_versions()
    assert (registered.slots, registered.memory_bytes) == (2, 1 << 30)
    assert registered.address.executor.name == "e1"
    assert registered.address.host == host_identity()
    assert registered.address.directory == str(wire.directory)
    assert wire.directory.stat().st_mode & 0o777 == 0o700
    assert registered.address.data_address.startswith("tcp://127.0.0.1:")
    with open(ready, "rb") as reader:
        assert reader.read() == b"ready\n"


def test_an_attempt_runs_and_its_blocks_are_counted_until_its_job_is_dropped(
    executor: Wire,
) -> None:
    attempt = executor.run("write")

    succeeded = executor.hear(AttemptSucceeded)
    assert isinstance(succeeded, AttemptSucceeded)
    assert succeeded.report.rows == (1,)
    eventually("the blocks are counted", lambda: executor.beat().blocks_bytes == 1000)
    executor.say(DropJob(JobId(1)))
    eventually("they are dropped", lambda: executor.beat().blocks_bytes == 0)
    assert not executor.path(attempt).parent.exists()


def test_a_real_fragment_runs_in_a_slot_and_its_block_can_be_fetched(wire: Wire) -> None:
    wire.start("--runner", DEFAULT_RUNNER)
    address = wire.register().address.data_address
    numbers = RangeLeaf("numbers", "x")
    total = SqlStep("total", "SELECT sum(x)::BIGINT AS total FROM numbers")
    fragment = Fragment((numbers,), (total,), BlocksOutput(1, "single"))

    attempt = wire.run_fragment(fragment, TaskInputs({"numbers": (RangeSplit(0, 100, 1),)}))

    succeeded = wire.hear(AttemptSucceeded)
    assert isinstance(succeeded, AttemptSucceeded)
    assert succeeded.report.rows == (1,)
    with zmq.Context() as context, BlockClient(context, address) as client:
        (block,) = client.fetch_index(attempt).blocks
        (segment,) = verified(block, client.fetch_block(attempt, block))
    assert (4950).to_bytes(8, "little") in segment


def test_heartbeats_count_the_envelopes_of_both_directions(executor: Wire) -> None:
    executor.run("ok")
    executor.hear(AttemptSucceeded)

    beat = executor.beat()
    while beat.received < executor.sent:
        beat = executor.beat()

    assert (beat.executor, beat.sent) == (executor.executor, executor.received)


def test_one_slot_runs_many_attempts_one_after_another(executor: Wire) -> None:
    stage = StageId(1, 0)
    attempts = tuple(AttemptId(1, 0, partition, 0) for partition in range(50))
    spec = StageSpec(0, "pid", 100, OutputKind.BLOCKS, payload=b"pid")
    executor.say(DescribeStage(stage, spec), LaunchAttempts(attempts))

    reports = [executor.hear(AttemptSucceeded) for _ in attempts]

    assert all(isinstance(report, AttemptSucceeded) for report in reports)
    pids = {report.report.rows for report in reports if isinstance(report, AttemptSucceeded)}
    assert len(pids) <= 2


@pytest.mark.parametrize(
    ("script", "kind", "told"),
    [
        ("_exit", FailureKind.PROCESS_DIED, "exit code 3"),
        ("segfault", FailureKind.PROCESS_DIED, "SIGSEGV"),
        ("close-everything", FailureKind.PROCESS_DIED, "closed its connection"),
        ("exit", FailureKind.INTERNAL, "SystemExit: leaving"),
        ("interrupt", FailureKind.INTERNAL, "KeyboardInterrupt"),
        ("nonsense", FailureKind.INTERNAL, "no script 'nonsense'"),
        ("memory", FailureKind.OUT_OF_MEMORY, "ran out of memory"),
        ("typed", FailureKind.USER_ERROR, "typed"),
    ],
)
def test_whatever_user_code_does_costs_one_attempt(
    executor: Wire, script: str, kind: FailureKind, told: str
) -> None:
    attempt = executor.run(script)

    failed = executor.failure()

    assert (failed.attempt, failed.failure.kind) == (attempt, kind)
    assert told in failed.failure.message
    assert executor.run("ok", partition=1, job=2)
    executor.hear(AttemptSucceeded)
    eventually("both slots are there again", lambda: len(executor.slots()) == 2)


def test_a_cancelled_attempt_is_dead_with_its_children_and_leaves_nothing(executor: Wire) -> None:
    hanging = executor.run("write-and-hang")
    parent = executor.run("child-and-hang", job=2)
    leftover = executor.path(hanging).with_name(executor.path(hanging).name + ".tmp")
    eventually("it is writing", leftover.exists)
    eventually(
        "the child runs", lambda: any(p.name() == "sleep" for p in executor.premises.processes())
    )

    executor.say(CancelAttempts((hanging, parent)))

    assert {executor.hear(AttemptCancelled), executor.hear(AttemptCancelled)} == {
        AttemptCancelled(hanging),
        AttemptCancelled(parent),
    }
    assert not leftover.exists()
    assert not list(executor.directory.glob("spill-*"))
    eventually(
        "the child is dead",
        lambda: not any(p.name() == "sleep" for p in executor.premises.processes()),
    )


def test_a_fenced_executor_comes_back_as_somebody_else_with_empty_hands(executor: Wire) -> None:
    attempt = executor.run("write")
    executor.hear(AttemptSucceeded)
    executor.run("hang", job=2)
    executor.hear(AttemptStarted)
    before = executor.executor

    executor.say(Fence("you were silent"))
    executor.register()

    assert executor.executor.name == before.name
    assert executor.executor.incarnation != before.incarnation
    assert not executor.path(attempt).exists()
    executor.run("ok", job=3)
    executor.hear(AttemptSucceeded)


def test_a_lost_envelope_makes_it_start_anew(executor: Wire) -> None:
    before = executor.executor

    executor.say(DropJob(JobId(1)), skip=1)
    executor.register()

    assert executor.executor != before


def test_a_silent_scheduler_makes_it_start_anew(wire: Wire) -> None:
    wire.start(
        "--conf", "executor.heartbeat_timeout_s=1", "--conf", "executor.heartbeat_interval_s=0.1"
    )
    wire.register()
    before = wire.executor

    wire.register()

    assert wire.executor != before


def test_a_scheduler_of_which_only_signs_of_life_arrive_makes_it_start_anew(wire: Wire) -> None:
    wire.start(
        "--conf", "executor.heartbeat_timeout_s=2", "--conf", "executor.heartbeat_interval_s=0.1"
    )
    wire.register()
    before = wire.executor

    def is_another() -> bool:
        if wire.beats.poll(20):
            with contextlib.suppress(zmq.ZMQError):  # the last beat of one that has gone
                wire.beat(missing=1)
        if wire.control.poll(0):
            wire.receive()
        return wire.executor != before

    eventually("it comes back as another one", is_another, within_s=WAIT_S)


def test_a_final_fence_ends_it_with_the_reason(wire: Wire) -> None:
    process = wire.start(stderr=subprocess.PIPE)
    wire.register()

    wire.say(Fence("pyarrow 25 is not 26", final=True))

    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    assert b"pyarrow 25 is not 26" in errors
    wire.premises.require_empty()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_a_signal_ends_it_in_good_order(executor: Wire, number: signal.Signals) -> None:
    assert executor.process is not None
    executor.run("hang")
    executor.hear(AttemptStarted)

    executor.process.send_signal(number)

    assert executor.hear(ExecutorLeft) == ExecutorLeft(number.name)
    assert executor.process.wait(WAIT_S) == 0
    executor.premises.require_empty()


def test_it_ends_with_its_owner(wire: Wire) -> None:
    reader, owner = os.pipe()
    process = wire.start("--owner-fd", str(reader), pass_fds=[reader])
    os.close(reader)
    wire.register()
    process.send_signal(signal.SIGINT)  # Ctrl-C is the owner's business
    wire.run("ok")
    wire.hear(AttemptSucceeded)

    os.close(owner)

    assert process.wait(WAIT_S) == 0
    wire.premises.require_empty()


def test_killing_the_supervisor_kills_template_and_slots_at_once(executor: Wire) -> None:
    assert executor.process is not None
    executor.run("hang")
    executor.hear(AttemptStarted)
    # The first slot may be at work before the second one is forked.
    eventually("all are there", lambda: len(executor.premises.processes()) == 4)

    executor.process.kill()
    executor.process.wait()

    eventually("all are dead", lambda: not executor.premises.processes(), within_s=1.0)


def test_killing_the_template_fails_what_ran_and_work_goes_on(executor: Wire) -> None:
    executor.run("hang")
    executor.hear(AttemptStarted)
    (template,) = executor.templates()

    template.kill()

    assert executor.failure().failure.kind is FailureKind.PROCESS_DIED
    executor.run("ok", job=2)
    executor.hear(AttemptSucceeded)


def test_prints_of_user_code_come_out_on_standard_error(wire: Wire) -> None:
    process = wire.start(stderr=subprocess.PIPE)
    wire.register()
    wire.run("print")
    wire.hear(AttemptSucceeded)

    process.terminate()

    _, errors = process.communicate(timeout=WAIT_S)
    assert b"a word from the user\n" in errors
    assert b"a word from native code\n" in errors


def test_prints_that_nobody_reads_fail_nothing(wire: Wire) -> None:
    process = wire.start(stderr=subprocess.PIPE)
    assert process.stderr is not None
    wire.register()
    wire.run("ok")
    wire.hear(AttemptSucceeded)
    process.stderr.close()
    process.stderr = None

    wire.run("print", job=2)
    wire.hear(AttemptSucceeded)
    wire.say(Fence("nobody reads this"))
    wire.register()


def test_garbage_on_its_links_changes_nothing(executor: Wire) -> None:
    identity = str(executor.executor).encode()
    for garbage in (b"", b"\xff" * 100, msgspec.msgpack.encode([1, 2, 3])):
        executor.control.send_multipart([identity, garbage])
        executor.beat()
        executor.beats.send_multipart([identity, garbage])

    executor.run("ok")
    executor.hear(AttemptSucceeded)


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (("--bind", "tcp://0.0.0.0:0"), "no keys"),
        (("--conf", "executor.memry=4g"), "executor.memory"),
        (("--memory", "much"), "no size"),
        (("--memory", "200m"), "at least 224 MiB"),
        (("--conf", "nonsense"), "name=value"),
        (("--slots", "0"), "at least 1"),
    ],
)
def test_a_command_line_that_cannot_be_used_is_refused_by_name(
    wire: Wire, flags: tuple[str, ...], told: str
) -> None:
    process = wire.start(*flags, stderr=subprocess.PIPE)

    _, errors = process.communicate(timeout=WAIT_S)

    assert process.returncode == 2
    assert told in errors.decode()
    wire.premises.require_empty()


def test_the_supervisor_imports_nothing_heavy() -> None:
    program = (
        "import sys, flowgrid_executor.__main__, flowgrid_executor.server;"
        "print(*{'pyarrow', 'duckdb', 'numpy', 'cloudpickle', 'xxhash'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PATHS))}

    imported = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True
    )

    assert imported.stdout.split() == []
