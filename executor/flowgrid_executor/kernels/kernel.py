"""What a kernel is fed with and what it gives back: streams of record batches that fail by type.

A stream is pulled through DuckDB and Arrow's C interface, which carry an error as text only. `Guard`
keeps the original beside the stream, so that a lost block is still a fetch failure when it arrives.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import pyarrow as pa


class KernelError(Exception):
    """The kernel's own words for why it could not go on."""


class Guard:
    """The first exception that any stream of an attempt raised."""

    def __init__(self) -> None:
        self.raised: Exception | None = None

    def watch(self, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The same batches. What goes wrong in making them is kept in `raised`."""
        try:
            yield from batches
        except Exception as error:
            self.raised = self.raised or error
            raise

    def reader(self, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> pa.RecordBatchReader:
        """A watched stream that can be read once."""
        return pa.RecordBatchReader.from_batches(schema, self.watch(batches))


class Rescannable:
    """A relation that DuckDB may scan as often as a query names it; each scan makes its batches anew.

    DuckDB opens a stream more often than it reads one (to learn the schema), so `scan` must be lazy.
    """

    def __init__(
        self, guard: Guard, schema: pa.Schema, scan: Callable[[], Iterable[pa.RecordBatch]]
    ) -> None:
        self._guard = guard
        self._schema = schema
        self._scan = scan

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._guard.reader(self._schema, self._batches()).__arrow_c_stream__()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        yield from self._scan()
