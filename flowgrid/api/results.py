"""What an action returns: the rows of a finished job, in the form the user asked for.

pyarrow is imported inside functions, after the job has been handed in: 0.1 s that the job can use.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa

    from flowgrid.api.engine import Engine, Result
    from flowgrid.logical.nodes import Node


def iter_batches(engine: Engine, node: Node) -> Iterator[pa.RecordBatch]:
    """The rows as a stream, in partition order; the job's blocks are released at its end."""
    with engine.run(node) as result:
        yield from _plain_batches(result)


def collect(engine: Engine, node: Node) -> pa.Table:
    with engine.run(node) as result:
        import pyarrow as pa

        from flowgrid.io.arrow_types import plain_schema

        return pa.Table.from_batches(_plain_batches(result), plain_schema(result.schema))


def reader(engine: Engine, node: Node) -> pa.RecordBatchReader:
    """The rows as an Arrow stream. The job runs at once, because its schema comes first."""
    result = engine.run(node)

    import pyarrow as pa

    from flowgrid.io.arrow_types import plain_schema

    def batches() -> Iterator[pa.RecordBatch]:
        with result:
            yield from _plain_batches(result)

    return pa.RecordBatchReader.from_batches(plain_schema(result.schema), batches())


def _plain_batches(result: Result) -> Iterator[pa.RecordBatch]:
    from flowgrid.io.arrow_types import to_plain

    return map(to_plain, result.batches())


def to_pandas(table: pa.Table) -> pandas.DataFrame:
    try:
        return table.to_pandas()
    except ModuleNotFoundError as error:
        raise _missing("pandas", error) from None


def to_polars(table: pa.Table) -> polars.DataFrame:
    try:
        import polars
    except ModuleNotFoundError as error:
        raise _missing("polars", error) from None
    frame: Any = polars.from_arrow(table)
    assert isinstance(frame, polars.DataFrame)
    return frame


def _missing(package: str, error: ModuleNotFoundError) -> ModuleNotFoundError:
    return ModuleNotFoundError(
        f"to_{package}() needs {package}: pip install 'flowgrid-engine[{package}]' ({error})"
    )
