"""User functions over record batches: the only place that unpickles user code.

What the user's function gives back is made to fit the promised schema or refused with the column's name;
what it raises becomes a `USER_ERROR` with the user's own lines and the batch in which it happened.
"""

from __future__ import annotations

import functools
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import cloudpickle
import pyarrow as pa

from flowgrid.io.arrow_types import to_plain
from flowgrid.protocol.failures import Failure, FailureKind
from flowgrid.protocol.fragment import PythonStep
from flowgrid_executor.slot_protocol import AttemptError

WHOLE_PARTITION = -1
"""`PythonStep.batch_rows` of a function that wants all rows of its partition as one table."""

_OUR_FOLDERS = (str(Path(__file__).resolve().parents[1]), str(Path(cloudpickle.__file__).parent))

_Rows: TypeAlias = pa.RecordBatch | pa.Table


class PythonCall:
    """One Python step at work: which batch it is at and what it was given."""

    def __init__(self, step: PythonStep, where: str) -> None:
        """`where` names the task's input for people."""
        self.schema = pa.ipc.read_schema(pa.py_buffer(step.schema))
        self._step = step
        self._where = where
        self._at = "while the function was loaded"

    def run(self, source: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The function's rows for the source's. Raises `AttemptError`."""
        function = self._users(lambda: _load(self._step.function))
        row = 0
        for number, rows in enumerate(_in_calls(map(to_plain, source), self._step.batch_rows)):
            self._at = f"in batch {number} (rows {row}-{row + rows.num_rows}) of {self._where}"
            row += rows.num_rows
            yield from self._results(self._users(functools.partial(function, rows)))

    def _results(self, result: Any) -> Iterator[pa.RecordBatch]:
        """Batches of whatever a user may return; an iterator is pulled as the kernel pulls."""
        rows = self._users(lambda: _as_rows(result, self.schema))
        if rows is not None:
            yield from self._conform(rows)
            return
        if not isinstance(result, Iterable) or isinstance(result, str | bytes):
            raise self._error(
                f"{self._step.label} returned {type(result).__name__}; expected a RecordBatch, a "
                "Table, a dict of columns, a data frame, or an iterator of these"
            )
        items = iter(result)
        end = object()
        while (item := self._users(lambda: next(items, end))) is not end:
            yield from self._results(item)

    def _conform(self, rows: _Rows) -> Iterator[pa.RecordBatch]:
        names = rows.schema.names
        for field in self.schema:
            if names.count(field.name) != 1:
                raise self._error(
                    f"{self._step.label} returned {'no' if field.name not in names else 'twice the'} "
                    f"column {field.name!r} of type {field.type}; it returned {', '.join(names)}"
                )
        for name in names:
            if name not in self.schema.names:
                raise self._error(
                    f"{self._step.label} returned a column {name!r} that is not promised"
                )
        columns = [self._column(rows.column(field.name), field) for field in self.schema]
        table = pa.Table.from_arrays(columns, schema=self.schema)
        yield from table.to_batches()

    def _column(self, column: Any, field: pa.Field) -> Any:
        try:
            return column.cast(field.type)
        except (pa.ArrowException, NotImplementedError) as error:
            raise self._error(
                f"{self._step.label} returned column {field.name!r} as {column.type}, "
                f"expected {field.type}: {error}"
            ) from None

    def _users(self, call: Callable[[], Any]) -> Any:
        """Run a bit of the user's code. Whatever it raises is theirs: a slot does not end for
        `SystemExit`, and nobody presses Ctrl-C in one."""
        try:
            return call()
        except AttemptError:
            raise
        except MemoryError as error:
            what = f"{self._step.label} ran out of memory {self._at}"
            failure = Failure(FailureKind.OUT_OF_MEMORY, what, _users_traceback(error))
            raise AttemptError(failure) from error
        except BaseException as error:
            raise self._error(_said(error), _users_traceback(error)) from error

    def _error(self, said: str, traceback_text: str = "") -> AttemptError:
        return AttemptError(Failure(FailureKind.USER_ERROR, f"{said} {self._at}", traceback_text))


def _said(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception as worse:
        text = f"its text cannot be had ({type(worse).__name__})"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@functools.lru_cache(maxsize=64)
def _load(function: bytes) -> Callable[[_Rows], Any]:
    loaded: Callable[[_Rows], Any] = cloudpickle.loads(function)
    return loaded


def _in_calls(source: Iterable[pa.RecordBatch], batch_rows: int) -> Iterator[_Rows]:
    """The source cut as the function wants it: as it comes, `batch_rows` each, or all at once."""
    if batch_rows == 0:
        yield from source
        return
    if batch_rows == WHOLE_PARTITION:
        batches = list(source)
        if batches:
            yield pa.Table.from_batches(batches)
        return
    held: list[pa.RecordBatch] = []
    missing = batch_rows
    for batch in source:
        while batch.num_rows >= missing:
            yield pa.concat_batches([*held, batch.slice(0, missing)])
            batch = batch.slice(missing)
            held, missing = [], batch_rows
        if batch.num_rows:
            held.append(batch)
            missing -= batch.num_rows
    if held:
        yield pa.concat_batches(held)


def _as_rows(result: Any, schema: pa.Schema) -> _Rows | None:
    """`result` as Arrow rows, or None if it is none of the things that are rows."""
    if isinstance(result, _Rows):
        return result
    if isinstance(result, Mapping):
        types = {field.name: field.type for field in schema}
        return pa.table(
            {
                name: values
                if isinstance(values, pa.Array | pa.ChunkedArray)
                else pa.array(values, types.get(name))
                for name, values in result.items()
            }
        )
    pandas = sys.modules.get("pandas")  # only who has imported it can return its frames
    if pandas is not None and isinstance(result, pandas.DataFrame):
        return pa.Table.from_pandas(result, preserve_index=False)
    if hasattr(result, "__arrow_c_stream__"):
        return pa.table(result)
    if hasattr(result, "__arrow_c_array__"):
        return pa.record_batch(result)
    return None


def _users_traceback(error: BaseException) -> str:
    """The traceback without the frames above and below the user's code."""
    told = traceback.TracebackException.from_exception(error)
    part: traceback.TracebackException | None = told
    while part is not None:
        part.stack = traceback.StackSummary.from_list(
            [frame for frame in part.stack if not frame.filename.startswith(_OUR_FOLDERS)]
        )
        part = part.__cause__ or part.__context__
    return "".join(told.format())
