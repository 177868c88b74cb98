"""Bugs of what lies below an engine: blocks that move, sockets, mapped files, full disks.

The number in a name is that of the ticket; `test_museum_spark.py` and `test_museum.py` have the others.
"""

from __future__ import annotations

import errno
import os
import socket
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import pyarrow as pa
import pytest
import zmq
from flowgrid_executor.block_store import BlockStore
from flowgrid_executor.task_runner import _failure
from flowgrid_scheduler.links import Links

from flowgrid.ids import AttemptId
from flowgrid.io.arrow_types import stored_schema, to_stored
from flowgrid.io.blocks import BlockFile, BlockFileWriter
from flowgrid.protocol.blocks import file_name
from flowgrid.protocol.departures import BlocksCopied
from flowgrid.protocol.failures import FailureKind, FetchCause
from flowgrid.protocol.fragment import TaskInputs
from flowgrid.protocol.messages import (
    AttemptSucceeded,
    DropJob,
    JobSucceeded,
    ReleaseJob,
)
from flowgrid.transport.security import Keys, Role, admission, create_keys
from flowgrid.transport.sockets import bind_router, connect_dealer
from tests.scheduler.story import (
    JOB,
    Story,
    executor_id,
    fetch_failure,
    launches,
    maps,
    sent_to_executors,
    shuffle,
)
from tests.scheduler.test_departures import (
    asked_to_copy,
    confirms_cancellations,
    decommission,
    half_done,
)

# -- blocks that move ----------------------------------------------------------------------------------


def moved_from_b(story: Story) -> list[AttemptId]:
    """The maps of "b", which leaves, now at "a". Readers at "a" run, and were told to read at "b"."""
    held = half_done(story)
    confirms_cancellations(story, "b")
    assert asked_to_copy(story, "a") == held
    for attempt in held:
        story.executor_says("a", BlocksCopied(attempt))
    return held


def test_spark_44126_no_block_moves_to_a_peer_that_is_leaving_itself(story: Story) -> None:
    story.joins("a", "b", "c", slots=1).submits(*shuffle(3, 3))
    story.finishes_stage(0)

    (on_c,) = story.core.state.jobs[1].stages[0].held_by(2)
    (on_b,) = story.core.state.jobs[1].stages[0].held_by(1)
    decommission(story, "c")
    assert asked_to_copy(story, "a") == [AttemptId(1, 0, on_c, 0)]
    decommission(story, "b")
    story.time_passes(1)

    # "a" fetches already and "c" does not, but "c" is leaving.
    assert asked_to_copy(story, "a") == [AttemptId(1, 0, on_c, 0), AttemptId(1, 0, on_b, 0)]
    assert asked_to_copy(story, "c") == []


def test_spark_44635_a_reader_with_the_old_location_reruns_nobody(story: Story) -> None:
    (moved, *_) = moved_from_b(story)
    reader = next(a for a in story.launched(1) if story.live[a] == "a")

    actions = story.fails(reader, fetch_failure(moved, "b", FetchCause.UNREACHABLE))

    assert {attempt.stage for attempt in launches(actions)} <= {1}
    assert max(story.core.state.jobs[1].stages[0].launches) == 1


def test_spark_46957_moved_files_go_with_their_job(story: Story) -> None:
    story.joins("a").submits(maps(1))
    story.finishes_stage(0)
    story.joins("b")  # it has nothing of the job but what moves there
    decommission(story, "a")
    story.executor_says("b", BlocksCopied(AttemptId(1, 0, 0, 0)))

    actions = story.driver_says(ReleaseJob(JOB))

    assert ("b", DropJob(JOB)) in sent_to_executors(actions, DropJob)


# -- sockets -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("later", ["the next word", "a heartbeat"])
def test_libzmq_791_a_word_that_vanished_with_a_reconnection_is_missed(
    story: Story, later: str
) -> None:
    story.joins("a", "b", slots=1).submits(maps(2))
    (attempt,) = [a for a in story.launched(0) if story.live[a] == "b"]
    report = story.report(attempt)
    story._next(executor_id("b"))  # the envelope that says that the attempt has succeeded
    story.forgets("b")

    if later == "the next word":
        actions = story.executor_says("b", AttemptSucceeded(attempt, report))
    else:
        story._awake.append("b")
        actions = story.time_passes(3)

    assert executor_id("b") not in story.core.state.executors.alive
    assert AttemptId(1, 0, attempt.partition, 1) in launches(actions)
    story.finishes_stage(0)
    assert story.told_driver(JobSucceeded)


def test_libzmq_2019_a_name_belongs_to_the_connection_that_had_it_first() -> None:
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        links = Links(router, epoch=1)
        assert links.heard(executor_id("a"), b"first")
        assert not links.heard(executor_id("a"), b"second"), "its words would go to the first"
        assert links.heard(executor_id("a"), b"first")


def test_cve_2020_15166_raw_connections_starve_nobody(tmp_path: Path) -> None:
    create_keys(tmp_path / "keys")
    keys = Keys(tmp_path / "keys", Role.SUBMITTER)
    with ExitStack() as opened:
        context = opened.enter_context(zmq.Context())
        opened.enter_context(admission(context, keys))
        server, address = bind_router(context, "tcp://127.0.0.1:0", keys)
        opened.enter_context(server)
        port = urlsplit(address).port
        for _ in range(200):
            raw = opened.enter_context(socket.create_connection(("127.0.0.1", port or 0)))
            raw.sendall(b"\xff")

        with connect_dealer(context, address, b"me", keys) as client:
            client.send(b"hello")
            assert server.poll(5_000), "nobody is heard while strangers are connected"
            assert server.recv_multipart()[1] == b"hello"


# -- mapped files --------------------------------------------------------------------------------------

SCHEMA = pa.schema({"n": pa.int64()})
ROWS = 100_000


def write(path: Path, *numbers: int) -> None:
    with BlockFileWriter(path, SCHEMA, 1) as writer:
        writer.write(0, pa.record_batch({"n": numbers}, schema=SCHEMA))
        writer.finish()


@pytest.mark.parametrize("what", ["written again", "dropped"])
def test_arrow_39642_a_mapped_file_is_never_cut_under_its_reader(tmp_path: Path, what: str) -> None:
    store = BlockStore(tmp_path / "blocks")
    attempt = AttemptId(1, 0, 0, 0)
    path = tmp_path / "blocks" / file_name(attempt)
    write(path, *range(ROWS))
    (mapped,) = BlockFile(path).batches([0])  # of which not a page was touched

    if what == "dropped":
        store.drop(attempt)
    else:
        write(path, 7)

    assert mapped.column("n").to_numpy().sum() == ROWS * (ROWS - 1) // 2
    store.close()


def test_arrow_a_dictionary_that_replaces_another_changes_no_row(tmp_path: Path) -> None:
    """Where a file may hold one dictionary per column, blocks hold none."""
    schema = pa.schema({"word": pa.dictionary(pa.int32(), pa.string())})
    words = (["left", "right", "left"], ["up", "down", "up"])
    with BlockFileWriter(tmp_path / "file", stored_schema(schema), 1) as writer:
        for some in words:
            batch = pa.record_batch({"word": pa.array(some).dictionary_encode()}, schema=schema)
            writer.write(0, to_stored(batch, stored_schema(schema)))
        writer.finish()
    found = BlockFile(tmp_path / "file").batches([0])
    assert tuple(batch.column("word").to_pylist() for batch in found) == words


# -- full disks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.ENOSPC, FailureKind.DISK_FULL),
        (errno.EDQUOT, FailureKind.DISK_FULL),
        (errno.EIO, FailureKind.DISK_BAD),
    ],
)
def test_riffle_588_a_full_disk_is_no_bad_one_and_no_corrupt_block(
    number: int, kind: FailureKind
) -> None:
    error = OSError(number, os.strerror(number), "/blocks/spill")
    failure = _failure(error, TaskInputs())
    assert (failure.kind, failure.fetch) == (kind, None)


def test_riffle_588_a_reader_without_room_goes_elsewhere_and_reruns_no_producer(
    story: Story,
) -> None:
    story.joins("a", "b", slots=1).submits(*shuffle(2, 2))
    story.finishes_stage(0)
    reader = next(a for a in story.launched(1) if story.live[a] == "a")

    story.fails(reader, FailureKind.DISK_FULL)

    assert story.live.get(AttemptId(1, 1, reader.partition, 1)) == "b"
    assert max(story.core.state.jobs[1].stages[0].launches) == 1
    story.finishes_stage(1)
    assert story.told_driver(JobSucceeded)
