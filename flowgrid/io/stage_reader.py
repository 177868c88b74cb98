"""What a finished stage left, as one stream of record batches: from mapped files or from other hosts.

Slots read their inputs with it and drivers their results. Producers are read in partition order, each
one's targets in target order, so that an answer that had to be recomputed is the same answer. A file is
opened when the one before it is used up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import pyarrow as pa

from flowgrid.ids import AttemptId, ExecutorId, StageId
from flowgrid.io.blocks import BlockFile
from flowgrid.protocol.block_transfer import FETCH_PATIENCE_S
from flowgrid.protocol.blocks import BlockCorruptError, BlockIndex, find_file
from flowgrid.protocol.failures import FetchCause, FetchFailure
from flowgrid.protocol.job_graph import ExecutorAddress, Slice, StageOutputs


class StageReadError(Exception):
    """A block could not be read: which, who held it, and what was seen."""

    def __init__(self, failure: FetchFailure, detail: str) -> None:
        super().__init__(f"{failure.producer} on {failure.holder}: {failure.cause}: {detail}")
        self.failure = failure


class Producer(Protocol):
    """What one attempt wrote. Opening and reading raise `BlockCorruptError` or OSError."""

    @property
    def index(self) -> BlockIndex: ...

    @property
    def schema(self) -> pa.Schema: ...

    def batches(self, targets: Iterable[int]) -> Iterator[pa.RecordBatch]: ...


class ReadWatch(Protocol):
    """Is told what a reader waits for, and what came."""

    def waits(self, producer: AttemptId, holder: ExecutorId, patience_s: float) -> None: ...

    def came(self, size: int) -> None: ...


class StageReader:
    """The rows of `slice_` (None is everything) of a stage of `job`, as seen from `host`.

    It can be read several times. All methods raise `StageReadError`.
    """

    def __init__(
        self,
        job: int,
        outputs: StageOutputs,
        slice_: Slice | None,
        host: str,
        open_remote: Callable[[ExecutorAddress, AttemptId], Producer],
        watch: ReadWatch | None = None,
    ) -> None:
        """`open_remote` opens what an attempt wrote on another host than `host`."""
        self._job = job
        self._outputs = outputs
        self._host = host
        self._open_remote = open_remote
        self._watch = watch
        self._targets = None if slice_ is None else (slice_.target_start, slice_.target_stop)
        partitions = range(len(outputs.holders))
        self._partitions = (
            partitions
            if slice_ is None
            else partitions[slice_.partition_start : slice_.partition_stop]
        )
        self._producers: dict[int, Producer] = {}

    def schema(self) -> pa.Schema | None:
        """The schema of the batches; None when the slice has no producer at all."""
        return self._open(self._partitions[0]).schema if self._has_blocks() else None

    def batches(self) -> Iterator[pa.RecordBatch]:
        """The rows, in partition order and then in target order."""
        schema = self.schema()
        for partition in self._partitions if self._has_blocks() else ():
            producer = self._open(partition)
            try:
                if producer.schema != schema:
                    raise BlockCorruptError("schema differs from that of the stage's other blocks")
                batches = producer.batches(self._target_range(producer))
                yield from self._watched(partition, batches) if self._watch else batches
            except (OSError, BlockCorruptError) as error:
                raise self._fetch_error(partition, error) from error

    def rows(self) -> int:
        """How many rows the slice has by its indexes, whether or not somebody has read them."""
        return sum(
            producer.index.blocks[target].rows
            for producer in map(self._open, self._partitions if self._has_blocks() else ())
            for target in self._target_range(producer)
        )

    def _has_blocks(self) -> bool:
        return bool(self._partitions) and (
            self._targets is None or self._targets[0] < self._targets[1]
        )

    def _target_range(self, producer: Producer) -> range:
        every = range(len(producer.index.blocks))
        return every if self._targets is None else every[slice(*self._targets)]

    def _open(self, partition: int) -> Producer:
        if partition not in self._producers:
            try:
                self._producers[partition] = self._find(partition)
            except (OSError, BlockCorruptError) as error:
                raise self._fetch_error(partition, error) from error
        return self._producers[partition]

    def _find(self, partition: int) -> Producer:
        address, attempt = self._holder(partition), self._attempt(partition)
        if self._is_mapped(address):
            return BlockFile(Path(find_file(address.directories, attempt)))
        if self._watch is None:
            return self._open_remote(address, attempt)
        self._watch.waits(attempt, address.executor, FETCH_PATIENCE_S)
        remote = self._open_remote(address, attempt)
        self._watch.came(0)
        return remote

    def _watched(
        self, partition: int, batches: Iterator[pa.RecordBatch]
    ) -> Iterator[pa.RecordBatch]:
        """The same, with a word before and after each."""
        assert self._watch is not None
        address, attempt = self._holder(partition), self._attempt(partition)
        patience_s = 0.0 if self._is_mapped(address) else FETCH_PATIENCE_S
        while True:
            self._watch.waits(attempt, address.executor, patience_s)
            batch = next(batches, None)
            self._watch.came(batch.nbytes if batch is not None else 0)
            if batch is None:
                return
            yield batch

    def _is_mapped(self, address: ExecutorAddress) -> bool:
        return address.host == self._host and any(map(os.path.isdir, address.directories))

    def _holder(self, partition: int) -> ExecutorAddress:
        return self._outputs.executors[self._outputs.holders[partition]]

    def _attempt(self, partition: int) -> AttemptId:
        number = self._outputs.attempts[partition]
        written_as = self._outputs.written_as or StageId(self._job, self._outputs.stage)
        return AttemptId(written_as.job, written_as.number, partition, number)

    def _fetch_error(self, partition: int, error: Exception) -> StageReadError:
        failure = FetchFailure(
            self._attempt(partition), self._holder(partition).executor, _cause(error)
        )
        return StageReadError(failure, str(error))


def _cause(error: Exception) -> FetchCause:
    match error:
        case BlockCorruptError():
            return FetchCause.CORRUPT
        case TimeoutError():
            return FetchCause.TIMEOUT
        case ConnectionError():
            return FetchCause.UNREACHABLE
    return FetchCause.MISSING  # the file, or a disk that gives it back
