"""What is sent is what arrives, and nothing else is let in."""

from __future__ import annotations

import random

import msgspec
import pytest

from flowgrid.ids import AttemptId, ExecutorId, JobId, StageId
from flowgrid.protocol import codec
from flowgrid.protocol.departures import BlocksCopied, CopyBlocks, DecommissionExecutor
from flowgrid.protocol.failures import Failure, FailureKind, FetchCause, FetchFailure
from flowgrid.protocol.fragment import (
    BlocksLeaf,
    BlocksOutput,
    Field,
    FileLeaf,
    Fragment,
    SinkOutput,
    SqlStep,
)
from flowgrid.protocol.job_graph import (
    NOTHING,
    ExecutorAddress,
    OutputKind,
    Slice,
    StageInput,
    StageSpec,
    StageStatistics,
)
from flowgrid.protocol.messages import (
    AttemptFailed,
    AttemptSucceeded,
    CancelJob,
    DriverEnvelope,
    ExecutorEnvelope,
    Heartbeat,
    KeepAlive,
    LaunchAttempts,
    OpenSession,
    StageSucceeded,
    SubmitJob,
    ToDriverEnvelope,
    ToExecutorEnvelope,
)
from flowgrid.protocol.reports import AttemptReport, WrittenFile
from flowgrid.protocol.versions import local_versions

COVERS = ["messages", "departures", "failures", "fragment", "job_graph"]

EXECUTOR = ExecutorId("a", 2**64 - 1)
ATTEMPT = AttemptId(1, 2, 3, 4)

STAGE = StageSpec(
    number=1,
    label="join",
    partition_count=2,
    output=OutputKind.BLOCKS,
    target_count=4,
    inputs=(StageInput(0, (Slice(0, 1, 0, 8), NOTHING)), StageInput(0)),
    payload=b"\x00opaque",
    tasks=(b"", b"\xff"),
)

FAILURE = Failure(
    FailureKind.FETCH_FAILED,
    "no such block",
    fetch=FetchFailure(ATTEMPT, EXECUTOR, FetchCause.CORRUPT),
)

COVERS = ["programs", "reports", "status", "waits"]


def test_a_driver_is_understood() -> None:
    envelope = DriverEnvelope(
        "f" * 32,
        0,
        (
            OpenSession("f" * 32, "me", local_versions(), {"executor.memory": "1g"}),
            SubmitJob(1, "query", (STAGE,), complete=True),
            CancelJob(JobId(1), "enough"),
            DecommissionExecutor("e2"),
            KeepAlive(),
        ),
    )
    assert codec.driver_envelopes.decode(codec.driver_envelopes.encode(envelope)) == envelope


def test_an_executor_is_understood() -> None:
    report = AttemptReport((10,), (1, 2), (100, 200), 2**64 - 1, (WrittenFile("a", 1, 2),))
    envelope = ExecutorEnvelope(
        EXECUTOR,
        7,
        (
            AttemptSucceeded(ATTEMPT, report),
            AttemptFailed(ATTEMPT, FAILURE),
            BlocksCopied(ATTEMPT),
        ),
    )
    assert codec.executor_envelopes.decode(codec.executor_envelopes.encode(envelope)) == envelope


def test_the_scheduler_is_understood() -> None:
    statistics = StageStatistics((1, 2), (10, 20))
    assert (statistics.total_rows, statistics.total_bytes) == (3, 30)
    to_driver = ToDriverEnvelope(1, 0, (StageSucceeded(StageId(1, 0), statistics),))
    assert (
        codec.to_driver_envelopes.decode(codec.to_driver_envelopes.encode(to_driver)) == to_driver
    )
    copy = CopyBlocks(
        (ATTEMPT,),
        (AttemptReport(()),),
        ExecutorAddress(EXECUTOR, "host", "/blocks", "tcp://host:1"),
    )
    to_executor = ToExecutorEnvelope(1, EXECUTOR, 0, (LaunchAttempts((ATTEMPT,)), copy))
    encoded = codec.to_executor_envelopes.encode(to_executor)
    assert codec.to_executor_envelopes.decode(encoded) == to_executor


@pytest.mark.parametrize(
    "output", [BlocksOutput(4, "hash", "#hash"), SinkOutput("parquet", "file:///out", ("year",))]
)
def test_a_fragment_is_understood(output: BlocksOutput | SinkOutput) -> None:
    columns = (Field("key", "BIGINT"), Field("price", "DECIMAL(15,2)"))
    fragment = Fragment(
        leaves=(
            FileLeaf("left", "parquet", columns, columns),
            BlocksLeaf("right", 0, columns),
        ),
        steps=(SqlStep("out", 'SELECT * FROM "left" JOIN "right" USING (key)'),),
        output=output,
        seed=42,
    )
    assert codec.fragments.decode(codec.fragments.encode(fragment)) == fragment


def test_words_of_another_role_are_refused() -> None:
    from_executor = codec.executor_envelopes.encode(ExecutorEnvelope(EXECUTOR, 0, ()))
    with pytest.raises(codec.DecodeError):
        codec.driver_envelopes.decode(from_executor)


def test_fields_of_the_wrong_type_are_refused() -> None:
    bad = msgspec.msgpack.encode({"type": "Heartbeat", "executor": ["a", "one"], "sent": 0})
    with pytest.raises(codec.DecodeError):
        codec.heartbeats.decode(bad)


def test_a_frame_that_nests_without_end_is_refused() -> None:
    head = b"\x82\xa4type\xa9Heartbeat\xa1x"
    with pytest.raises(codec.DecodeError):
        codec.heartbeats.decode(head + b"\x91" * 100_000)


def test_damaged_frames_are_refused_and_never_crash(seed: int) -> None:
    chance = random.Random(seed)
    good = codec.heartbeats.encode(Heartbeat(EXECUTOR, 1, 2, 3))
    refused = 0
    for _ in range(2_000):
        frame = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            frame[chance.randrange(len(frame))] = chance.randrange(256)
        try:
            codec.heartbeats.decode(bytes(frame[: chance.randint(0, len(frame))]))
        except codec.DecodeError:
            refused += 1
    assert refused > 1_000
