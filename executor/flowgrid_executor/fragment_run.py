"""A fragment at work: its relations from leaves to output, each attached to whoever reads it.

Every step is a query on a cursor of its own. Relations pull from each other batch by batch; nothing is
materialised on the way.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa

from flowgrid.config import Config
from flowgrid.ids import AttemptId
from flowgrid.io.stage_reader import Producer, StageReader
from flowgrid.protocol.blocks import file_name
from flowgrid.protocol.fragment import (
    BlocksLeaf,
    BlocksOutput,
    Field,
    FileLeaf,
    FileSplit,
    Fragment,
    Leaf,
    PythonStep,
    RangeLeaf,
    RangeSplit,
    SinkOutput,
    Split,
    SqlStep,
    TaskInputs,
)
from flowgrid.protocol.job_graph import ExecutorAddress
from flowgrid.protocol.reports import AttemptReport
from flowgrid_executor.kernels.duckdb_kernel import (
    DuckDbKernel,
    kernel_batches,
    quote_name,
)
from flowgrid_executor.kernels.kernel import Guard, Rescannable
from flowgrid_executor.kernels.python_kernel import PythonCall
from flowgrid_executor.memory import chunk_bytes, row_group_bytes
from flowgrid_executor.progress import ProgressPage
from flowgrid_executor.scans import (
    NO_COLUMNS,
    arrow_file_batches,
    check_schema,
    check_splits,
    empty_query,
    file_view,
    range_query,
)
from flowgrid_executor.shuffle.writer import CHUNK_BYTES_MAX, ROW_HASH, write_blocks
from flowgrid_executor.slot_protocol import RunAttempt

# What only some fragments need (sinks with fsspec and Parquet's writer, sockets) is imported where it is
# used: the template imports this module before the first slot can be forked, and a user waits for that.
if TYPE_CHECKING:
    from flowgrid.transport.remote_blocks import RemoteBlocks

_Attach = Callable[[duckdb.DuckDBPyConnection], None]
"""Make a relation known, under its name, to the cursor that will read it."""


class LocalDirectoryError(OSError):
    """Blocks cannot be written where they should be."""


class FragmentRun:
    """The relations of one attempt, from leaves to output."""

    def __init__(
        self,
        request: RunAttempt,
        fragment: Fragment,
        inputs: TaskInputs,
        kernel: DuckDbKernel,
        guard: Guard,
    ) -> None:
        self._kernel = kernel
        self._request = request
        self._fragment = fragment
        self._splits = inputs.splits
        self._guard = guard
        self._batch_rows = Config.parse(request.settings).kernel_batch_rows
        self._relations: dict[str, _Attach] = {}
        self._remote: RemoteBlocks | None = None
        self._resources = contextlib.ExitStack()
        watch = self._progress_page()
        self._readers = [
            StageReader(
                request.attempt.job, outputs, slice_, request.host, self._open_remote, watch
            )
            for outputs, slice_ in zip(request.inputs, request.slices, strict=True)
        ]

    def run(self) -> AttemptReport:
        for leaf in self._fragment.leaves:
            self._relations[leaf.name] = self._leaf(leaf)
        for step in self._fragment.steps[:-1]:
            self._relations[step.name] = self._step(step)
        relation = self._last()
        columns = [
            Field(name, str(type_))
            for name, type_ in zip(relation.columns, relation.types, strict=True)
        ]
        match self._fragment.output:
            case BlocksOutput() as output:
                return self._write_blocks(relation, columns, output)
            case SinkOutput() as sink:
                return self._write_files(relation, columns, sink)

    # -- outputs ---------------------------------------------------------------------------------

    def _write_blocks(
        self, relation: duckdb.DuckDBPyRelation, columns: list[Field], output: BlocksOutput
    ) -> AttemptReport:
        payload = [quote_name(c.name) for c in columns if c.name != output.column]
        row_hash = f"hash({', '.join(payload)})" if payload else "CAST(0 AS UBIGINT)"
        reader = self._kernel.stream(
            relation.project(f"*, {row_hash} AS {quote_name(ROW_HASH)}"), self._batch_rows
        )
        bounds = self._range_bounds() if output.partitioning == "range" else None
        path = Path(self._request.directory, file_name(self._request.attempt))
        partition, batches = self._request.attempt.partition, kernel_batches(reader)
        try:
            path.parent.mkdir(
                exist_ok=True
            )  # not the directory itself: without it, its disk is gone
            chunk = chunk_bytes(CHUNK_BYTES_MAX, self._request.memory_bytes)
            written = write_blocks(path, output, partition, reader.schema, batches, bounds, chunk)
        except OSError as error:  # of the file: what the rows come from fails as the kernel's
            raise LocalDirectoryError(error.errno, error.strerror, str(path)) from error
        return AttemptReport(
            rows_read=self._rows_read(),
            rows=written.rows,
            bytes=written.bytes,
            digest=written.digest,
        )

    def _range_bounds(self) -> pa.Array:
        """The sort keys at which ranges begin: one row of the last leaf, which no query reads."""
        leaf = self._fragment.leaves[-1]
        assert isinstance(leaf, BlocksLeaf), "ranges come with their bounds"
        (batch,) = self._readers[leaf.input].batches()
        return batch.column(0)[0].values

    def _write_files(
        self, relation: duckdb.DuckDBPyRelation, columns: list[Field], sink: SinkOutput
    ) -> AttemptReport:
        from flowgrid_executor.sinks import HELD_BYTES_MAX, SinkWriter, sink_projection

        held = row_group_bytes(HELD_BYTES_MAX, self._request.memory_bytes)
        with SinkWriter(sink, self._request.attempt, columns, held) as writer:
            projected = relation.project(sink_projection(sink, columns))
            reader = self._kernel.stream(projected, self._batch_rows)
            writer.write_all(reader.schema, kernel_batches(reader))
            files = writer.finish()
            rows = sum(file.rows for file in files)
            size = sum(file.bytes for file in files)
            return AttemptReport(
                rows_read=self._rows_read(), rows=(rows,), bytes=(size,), files=files
            )

    def _rows_read(self) -> tuple[int, ...]:
        """By the indexes: a LIMIT may stop early, and yet nothing is missing."""
        return tuple(reader.rows() for reader in self._readers)

    # -- steps -----------------------------------------------------------------------------------

    def _last(self) -> duckdb.DuckDBPyRelation:
        """The query that feeds the output, not yet started."""
        if not self._fragment.steps:
            return self._query(f"FROM {quote_name(self._fragment.leaves[-1].name)}")
        match self._fragment.steps[-1]:
            case SqlStep() as step:
                return self._query(step.sql)
            case PythonStep() as step:
                self._relations[step.name] = self._step(step)
                return self._query(f"FROM {quote_name(step.name)}")

    def _step(self, step: SqlStep | PythonStep) -> _Attach:
        match step:
            case SqlStep():
                schema, batches = self._stream(step.sql)
            case PythonStep():
                call = PythonCall(step, self._where())
                _, source = self._stream(f"FROM {quote_name(step.input)}")
                schema, batches = call.schema, call.run(source)
        return self._registered(step.name, self._guard.reader(schema, batches))

    def _stream(self, sql: str) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        reader = self._kernel.stream(self._query(sql), self._batch_rows)
        return reader.schema, kernel_batches(reader)

    def _query(self, sql: str) -> duckdb.DuckDBPyRelation:
        """A query on a cursor of its own, which knows the relations that the query names."""
        cursor = self._kernel.cursor(sql)
        for name, attach in self._relations.items():
            if name in sql:  # a name too many costs little: nothing runs before it is read
                attach(cursor)
        return cursor.sql(sql)

    # -- leaves ----------------------------------------------------------------------------------

    def _leaf(self, leaf: Leaf) -> _Attach:
        match leaf:
            case BlocksLeaf():
                return self._blocks(leaf)
            case RangeLeaf():
                ranges = [s for s in self._splits.get(leaf.name, ()) if isinstance(s, RangeSplit)]
                return _view(leaf.name, range_query(leaf, ranges))
            case FileLeaf():
                files = [s for s in self._splits.get(leaf.name, ()) if isinstance(s, FileSplit)]
                return self._files(leaf, files)

    def _files(self, leaf: FileLeaf, splits: list[FileSplit]) -> _Attach:
        check_splits(splits)
        check_schema(self._kernel, leaf, splits)
        if leaf.format not in ("ipc", "text"):
            return _view(leaf.name, file_view(leaf, splits))
        found = arrow_file_batches(leaf, splits)
        if found is None:
            return _view(leaf.name, empty_query(leaf.columns))
        return self._registered(leaf.name, Rescannable(self._guard, *found))

    def _blocks(self, leaf: BlocksLeaf) -> _Attach:
        reader = self._readers[leaf.input]
        schema = reader.schema()
        if schema is None:
            return _view(leaf.name, empty_query(leaf.columns))
        if not len(schema):
            nothing = pa.schema({NO_COLUMNS: pa.null()})
            return self._registered(
                leaf.name,
                Rescannable(self._guard, nothing, lambda: map(_only_rows, reader.batches())),
            )
        blocks = Rescannable(self._guard, schema, reader.batches)
        if not any("ENUM(" in column.type for column in leaf.columns):
            return self._registered(leaf.name, blocks)
        # Blocks keep the values of an ENUM, not the type.
        raw = f"#{leaf.name}"
        columns = ", ".join(
            f"CAST({quote_name(c.name)} AS {c.type}) AS {quote_name(c.name)}" for c in leaf.columns
        )
        register = self._registered(raw, blocks)
        view = _view(leaf.name, f"SELECT {columns} FROM {quote_name(raw)}")

        def attach(cursor: duckdb.DuckDBPyConnection) -> None:
            register(cursor)
            view(cursor)

        return attach

    @staticmethod
    def _registered(name: str, stream: Rescannable | pa.RecordBatchReader) -> _Attach:
        def attach(cursor: duckdb.DuckDBPyConnection) -> None:
            cursor.register(name, stream)

        return attach

    def _open_remote(self, address: ExecutorAddress, attempt: AttemptId) -> Producer:
        import zmq

        from flowgrid.transport.remote_blocks import RemoteBlocks
        from flowgrid.transport.security import Keys, Role

        if self._remote is None:
            directory = self._request.keys_directory
            keys = Keys(Path(directory), Role.EXECUTOR) if directory else None
            context = self._resources.enter_context(zmq.Context())
            self._remote = self._resources.enter_context(RemoteBlocks(context, keys))
        return self._remote.open(address, attempt)

    def _progress_page(self) -> ProgressPage | None:
        """Where reading is noted, if there is anything to read and a place to note it."""
        if not self._request.inputs or not self._request.progress_path:
            return None
        with contextlib.suppress(OSError):  # a full disk is found by those who need it
            page = ProgressPage(Path(self._request.progress_path), self._request.attempt)
            self._resources.callback(page.close)
            return page
        return None

    def close(self) -> None:
        self._resources.close()

    def _where(self) -> str:
        """The task's input, for people who look for the row that their function did not like."""
        paths = input_paths(self._splits)
        return f"{self._request.attempt.task}" + (f" ({paths[0]})" if len(paths) == 1 else "")


def _view(name: str, query: str) -> _Attach:
    def attach(cursor: duckdb.DuckDBPyConnection) -> None:
        cursor.execute(f"CREATE TEMP VIEW {quote_name(name)} AS {query}").fetchall()

    return attach


def _only_rows(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.record_batch([pa.nulls(batch.num_rows)], names=[NO_COLUMNS])


def input_paths(splits: dict[str, tuple[Split, ...]]) -> list[str]:
    files = [split for group in splits.values() for split in group if isinstance(split, FileSplit)]
    return sorted({split.path for split in files})
