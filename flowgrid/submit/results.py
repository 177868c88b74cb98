"""A job's answer, as a stream of record batches in partition order."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

import pyarrow as pa

from flowgrid.closing import Closing
from flowgrid.ids import AttemptId
from flowgrid.io.arrow_types import plain_schema, to_plain
from flowgrid.io.stage_reader import Producer, StageReader, StageReadError
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.job_graph import ExecutorAddress, Slice
from flowgrid.protocol.messages import JobSucceeded
from flowgrid.protocol.reports import WrittenFile
from flowgrid.transport.host import host_identity
from flowgrid.transport.security import Keys

if TYPE_CHECKING:
    from flowgrid.transport.remote_blocks import RemoteBlocks


class Result(Closing):
    """What a job left. A context manager: leaving it lets the cluster drop the blocks.

    `schema` is that of the blocks, with plain types. Batches are views of mapped files where they can
    be; they stay valid after the result is closed.
    """

    def __init__(
        self,
        succeeded: JobSucceeded,
        stages: str,
        keys: Keys | None,
        recompute: Callable[[Failure], JobSucceeded],
        release: Callable[[], None],
    ) -> None:
        """`stages` tells those that ran and their sizes; `recompute` makes the cluster produce a lost
        block again and gives the new locations."""
        self.stages = stages
        self._succeeded = succeeded
        self._keys = keys
        self._recompute = recompute
        self._release = release

    @cached_property
    def schema(self) -> pa.Schema:
        """The columns; none for what a sink wrote."""
        if self.files or not self._succeeded.outputs.holders:
            return pa.schema([])
        with _OtherHosts(self._keys) as remote:
            while True:
                try:
                    found = self._reader(0, remote).schema()
                    return plain_schema(found if found is not None else pa.schema([]))
                except StageReadError as error:
                    self._succeeded = self._recompute(_fetch_failure(error))

    @property
    def files(self) -> tuple[tuple[AttemptId, WrittenFile], ...]:
        """What the attempts of a sink wrote, in partition order."""
        return self._succeeded.files

    @property
    def rows(self) -> int:
        """How many rows there are, or were written."""
        if self.files:
            return sum(file.rows for _, file in self.files)
        return self._succeeded.statistics.total_rows

    def close(self) -> None:
        """Let the cluster drop the result; called again it does nothing."""
        release, self._release = self._release, lambda: None
        release()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows. A block that is lost is computed again, and reading goes on where it was.

        Raises `JobError` if it cannot be.
        """
        with _OtherHosts(self._keys) as remote:
            for partition in range(len(self._succeeded.outputs.holders)):
                for batch in self._partition(partition, remote):
                    plain = to_plain(batch)
                    # A cast to what it is would import a compute library to do nothing.
                    same = plain.schema.equals(self.schema)
                    yield plain if same else plain.cast(self.schema)

    def _partition(self, partition: int, remote: _OtherHosts) -> Iterator[pa.RecordBatch]:
        batches = self._reader(partition, remote).batches()
        seen = 0
        while True:
            try:
                for position, batch in enumerate(batches):
                    if position >= seen:
                        seen += 1
                        yield batch
                return
            except StageReadError as error:
                self._succeeded = self._recompute(_fetch_failure(error))
                batches = self._reader(partition, remote).batches()

    def _reader(self, partition: int, remote: _OtherHosts) -> StageReader:
        succeeded, slice_ = self._succeeded, Slice(0, 1, partition, partition + 1)
        return StageReader(
            succeeded.job.number, succeeded.outputs, slice_, host_identity(), remote.open
        )


def _fetch_failure(error: StageReadError) -> Failure:
    return Failure(FailureKind.FETCH_FAILED, str(error), fetch=error.failure)


class _OtherHosts:
    """Blocks of other hosts; what one host holds needs no sockets, so they are made when asked for."""

    def __init__(self, keys: Keys | None) -> None:
        self._keys = keys
        self._opened = contextlib.ExitStack()
        self._blocks: RemoteBlocks | None = None

    def __enter__(self) -> _OtherHosts:
        return self

    def __exit__(self, *error: object) -> None:
        self._opened.close()

    def open(self, address: ExecutorAddress, attempt: AttemptId) -> Producer:
        if self._blocks is None:
            import zmq

            from flowgrid.transport.remote_blocks import RemoteBlocks

            context = self._opened.enter_context(zmq.Context())
            self._blocks = self._opened.enter_context(RemoteBlocks(context, self._keys))
        return self._blocks.open(address, attempt)
