"""DuckDB as the kernel of a slot: one instance per process, one cursor per step.

A connection with an open result refuses a second query, and temporary views and registered streams
belong to one cursor; so every step of a fragment gets its own and streams into the next. Closing the
cursors drops everything that an attempt made.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import duckdb
import pyarrow as pa

from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid_executor.kernels.kernel import KernelError

_KINDS = (
    ("Out of Memory Error", FailureKind.OUT_OF_MEMORY),
    ("INTERNAL Error", FailureKind.INTERNAL),
    ("FATAL Error", FailureKind.INTERNAL),
)

_SPILL_LIMIT = "'max_temp_directory_size' setting"

_DRAWS = re.compile("random|uuid|sample|reservoir", re.IGNORECASE)
"""In whatever draws from a cursor's seed. Setting it is a query of its own: 1 ms."""

_JOIN_OPTIMIZERS = "join_order,build_side_probe_side,partial_aggregate_pushdown"
"""Those that go by how many rows there are: without the first of them nobody has estimated that, and
the last one folds rows below joins that leave few of them (a third of a task of TPC-H 3)."""


class DuckDbKernel:
    """The slot's DuckDB instance, kept from attempt to attempt."""

    def __init__(self) -> None:
        self._connection: duckdb.DuckDBPyConnection | None = None
        self._cursors: list[duckdb.DuckDBPyConnection] = []
        self._readers: list[pa.RecordBatchReader] = []
        self._settings: tuple[str, ...] = ()
        self._spill_directory = ""
        self._seed = 0.0

    def open(self) -> duckdb.DuckDBPyConnection:
        """The instance, made at the first call: 25 ms that no attempt needs to take."""
        if self._connection is None:
            self._connection = _connect()
        return self._connection

    def begin(
        self,
        threads: int,
        memory_bytes: int,
        spill_directory: str,
        seed: int,
        joins_as_written: bool = False,
    ) -> None:
        """Settings of the attempt to come. Above `memory_bytes` DuckDB spills; what is more than that
        in the process is not its own. `seed` fixes random() and samples on every cursor."""
        if self._spill_directory not in ("", spill_directory):
            self.close()  # DuckDB does not move what it spills to: 25 ms, once in a disk's life
        self._spill_directory = spill_directory
        connection = self.open()
        settings = (
            f"SET threads = {threads}",
            f"SET memory_limit = '{max(memory_bytes, 1)}B'",
            f"SET temp_directory = {quote_text(spill_directory)}",
            f"SET disabled_optimizers = '{_JOIN_OPTIMIZERS if joins_as_written else ''}'",
        )
        # Only what has changed: where DuckDB has spilled to, it takes no temp_directory, not the same.
        for setting in settings:
            if setting not in self._settings:
                self._run(connection, setting)
        self._settings = settings
        self._seed = (seed % 2_000_003) / 1_000_001.5 - 1.0

    def close(self) -> None:
        """End the instance; the next attempt has another."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._settings = None, ()

    def end(self) -> None:
        """Drop whatever the attempt left: open results, views, registered streams."""
        for reader in reversed(self._readers):
            reader.close()
        for cursor in reversed(self._cursors):
            cursor.close()
        self._readers.clear()
        self._cursors.clear()

    def cursor(self, sql: str = "") -> duckdb.DuckDBPyConnection:
        """A cursor for `sql`, with the attempt's seed if that draws anything."""
        assert self._connection is not None, "begin() comes first"
        cursor = self._connection.cursor()
        self._cursors.append(cursor)
        if _DRAWS.search(sql):
            self._run(cursor, f"SELECT setseed({self._seed!r})")
        return cursor

    def use_filesystem(self, protocol: str) -> None:
        """Let DuckDB read URLs of an fsspec file system."""
        import fsspec  # with asyncio 150 ms, which a slot that reads local files need not wait for

        assert self._connection is not None, "begin() comes first"
        if not self._connection.filesystem_is_registered(protocol):
            self._connection.register_filesystem(fsspec.filesystem(protocol))

    def stream(self, relation: duckdb.DuckDBPyRelation, batch_rows: int) -> pa.RecordBatchReader:
        """Start a query. Its batches come as they are pulled; see `kernel_batches`."""
        reader = relation.to_arrow_reader(batch_rows)
        self._readers.append(reader)
        return reader

    @staticmethod
    def _run(cursor: duckdb.DuckDBPyConnection, sql: str) -> None:
        cursor.execute(sql).fetchall()


def kernel_batches(reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    """The batches of a running query. Raises `KernelError` where Arrow raises OSError."""
    try:
        yield from reader
    except MemoryError:  # which Arrow's own is, too
        raise
    except (OSError, pa.ArrowException) as error:
        raise KernelError(str(error)) from error


def kernel_failure(message: str, spill_directory: str = "") -> Failure:
    """DuckDB's words as a typed failure. Streams carry text only, so it is told by its first words.

    What names the `spill_directory` is a disk's failure; more room there, or more memory, would do.
    """
    if _SPILL_LIMIT in message:  # nine tenths of what was free there
        return Failure(FailureKind.OUT_OF_MEMORY, f"there is no room to spill to {spill_directory}")
    kind = next((kind for start, kind in _KINDS if message.startswith(start)), None)
    if kind is None and "No space left on device" in message:
        kind = FailureKind.DISK_FULL
    if kind is None and "Input/output error" in message:
        kind = FailureKind.DISK_BAD
    if kind is None and spill_directory and spill_directory in message:
        kind = FailureKind.DISK_BAD
    return Failure(kind or FailureKind.QUERY_ERROR, message.strip())


def quote_name(name: str) -> str:
    """An identifier for DuckDB."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """A string literal for DuckDB."""
    return "'" + text.replace("'", "''") + "'"


def _connect() -> duckdb.DuckDBPyConnection:
    settings: dict[str, Any] = {
        "arrow_lossless_conversion": "true",
        "arrow_output_version": "1.5",  # decimal64: half the shuffled bytes of decimal128
        "autoinstall_known_extensions": "false",
        "autoload_known_extensions": "false",
        "preserve_insertion_order": "true",
        "python_enable_replacements": "false",  # a name in a query is never a variable of ours
    }
    connection = duckdb.connect(":memory:", config=settings)
    connection.execute("SET GLOBAL TimeZone = 'UTC'").fetchall()
    # A footer of 524 row groups takes 15 ms to parse: once in each slot, not twice in each attempt.
    # A file that has changed since is found before, by its split's size and time.
    connection.execute("SET GLOBAL parquet_metadata_cache = true").fetchall()
    return connection
