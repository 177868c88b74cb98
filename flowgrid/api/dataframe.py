"""DataFrame: each method adds one logical node and returns a new DataFrame; actions run the plan.

The verbs themselves are functions over nodes, in modules by kind: selections, joins, shaping,
writing, results.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Concatenate, Literal, ParamSpec, TypeVar

from flowgrid.api import asof, joins, pivoting, selections, shaping, writing
from flowgrid.api.column import IntoColumn, IntoType
from flowgrid.api.functions import count
from flowgrid.api.grouped import GroupedDataFrame
from flowgrid.api.selections import Selected
from flowgrid.errors import PlanError
from flowgrid.logical.nodes import Limit, Node, SetOperation

if TYPE_CHECKING:
    import pandas
    import polars
    import pyarrow as pa

    from flowgrid.api.engine import Engine

IntoPath = str | os.PathLike[str]
Names = str | Sequence[str]
Mode = Literal["error", "overwrite", "append"]
How = Literal["inner", "left", "right", "full", "semi", "anti", "cross"]

P = ParamSpec("P")
T = TypeVar("T")


class DataFrame:
    """Rows with named columns, as a plan; immutable. Nothing runs until an action.

    A string in place of an expression is SQL: a column's name, ``"price * amount AS total"``, …
    """

    def __init__(self, node: Node, engine: Engine) -> None:
        self.node = node
        self.engine = engine
        # Types are the kernel's to check. The first session of a process does not wait for its
        # import only to learn early what the engine finds out anyway.
        if "duckdb" in sys.modules:
            self._fields()

    def _new(self, node: Node) -> DataFrame:
        return DataFrame(node, self.engine)

    # -- columns and rows ----------------------------------------------------------------------

    def select(self, *values: Selected, **named: IntoColumn) -> DataFrame:
        """These columns and no others; only aggregates make one row."""
        return self._new(selections.select(self.node, values, named))

    def with_columns(self, *values: Selected, **named: IntoColumn) -> DataFrame:
        """All columns; those of the same name are replaced."""
        return self._new(selections.with_columns(self.node, values, named))

    def filter(self, *predicates: Selected) -> DataFrame:
        """The rows for which all predicates are true (and not NULL)."""
        return self._new(selections.keep(self.node, predicates))

    def drop(self, *names: str | Sequence[str]) -> DataFrame:
        return self._new(selections.drop(self.node, names))

    def rename(self, mapping: Mapping[str, str]) -> DataFrame:
        """Columns under new names: ``{"old": "new"}``."""
        return self._new(selections.rename(self.node, mapping))

    def cast(self, types: Mapping[str, IntoType] | IntoType, *, strict: bool = True) -> DataFrame:
        """Columns as other types: ``{"price": "DECIMAL(15,2)", "day": datetime.date}``."""
        return self._new(selections.cast(self.node, types, strict))

    def unique(self, subset: str | Sequence[str] | None = None) -> DataFrame:
        """Each row once; with `subset`, any one row for each of its values."""
        return self._new(selections.unique(self.node, subset))

    def sort(
        self,
        *by: Selected,
        descending: bool | Sequence[bool] = False,
        nulls_last: bool | Sequence[bool] = False,
    ) -> DataFrame:
        """The rows in order. A key may say its own: ``"a DESC"``, ``col("a").desc()``."""
        return self._new(selections.sort(self.node, by, descending, nulls_last))

    def limit(self, n: int) -> DataFrame:
        """The first `n` rows."""
        return self.slice(0, n)

    def head(self, n: int = 5) -> DataFrame:
        return self.slice(0, n)

    def slice(self, offset: int, length: int | None = None) -> DataFrame:
        """`length` rows after the first `offset` ones."""
        if offset < 0 or (length is not None and length < 0):
            raise PlanError(f"slice({offset}, {length}): neither may be negative")
        return self._new(Limit(self.node, length, offset))

    def sample(self, fraction: float, seed: int | None = None) -> DataFrame:
        """Each row with probability `fraction`; the same rows again for the same `seed`."""
        return self._new(shaping.sample(self.node, fraction, seed))

    def explode(self, column: str) -> DataFrame:
        """One row per item of a list; NULL for an empty list."""
        return self._new(shaping.explode(self.node, column))

    def unpivot(
        self,
        on: str | Sequence[str] | None = None,
        *,
        index: str | Sequence[str] | None = None,
        variable_name: str = "variable",
        value_name: str = "value",
    ) -> DataFrame:
        """One row for each row and each column of `on` (all but `index`): its name and its value."""
        return self._new(shaping.unpivot(self.node, on, index, variable_name, value_name))

    def pivot(
        self,
        on: str | Sequence[str],
        on_columns: Sequence[Any] | None = None,
        *,
        index: str | Sequence[str] | None = None,
        values: str | Sequence[str] | None = None,
        aggregate_function: str = "first",
        separator: str = "_",
    ) -> DataFrame:
        """One row per `index`, and for each value of `on` a column with the aggregate of `values`.

        `on_columns` are these values (tuples for several columns); without them a query finds them
        now. "len" counts rows. Raises `PlanError` for an unknown aggregate.
        """
        names = pivoting.columns_of_pivot(self.node, on)
        if on_columns is None:
            rows = self._new(pivoting.distinct_values(self.node, names)).to_pylist()
            on_columns = [tuple(row.values()) for row in rows]
        made = (on_columns, index, values, aggregate_function, separator)
        return self._new(pivoting.pivot(self.node, names, *made))

    # -- groups --------------------------------------------------------------------------------

    def group_by(self, *keys: Selected, **named: IntoColumn) -> GroupedDataFrame[DataFrame]:
        """Rows by key, to be followed by `agg` or an aggregate."""
        found = selections.named_expressions(self.node, keys, named, "group_by")
        return GroupedDataFrame(self.node, found, self._new)

    def agg(self, *aggregates: Selected, **named: IntoColumn) -> DataFrame:
        """One row: these aggregates over the whole frame."""
        return self.group_by().agg(*aggregates, **named)

    # -- with other frames ---------------------------------------------------------------------

    def join(
        self,
        other: DataFrame,
        on: joins.Keys = None,
        how: How = "inner",
        *,
        left_on: joins.Keys = None,
        right_on: joins.Keys = None,
        suffix: str = "_right",
        coalesce: bool = True,
    ) -> DataFrame:
        """Pairs of rows with equal keys, or for which the condition `on` is true.

        Keys appear once, named as on the left (on the right for how="right"; a full join takes the
        side that is there). Other columns of the right whose names the left has get `suffix`; a
        condition names them so: ``on="a < b AND c = c_right"``. NULL equals nothing.
        """
        return self._new(
            joins.join(
                self.node, other.node, on=on, left_on=left_on, right_on=right_on, how=how,
                suffix=suffix, coalesce=coalesce,
            )
        )  # fmt: skip

    def join_asof(
        self,
        other: DataFrame,
        *,
        on: str | None = None,
        left_on: str | None = None,
        right_on: str | None = None,
        by: Names | None = None,
        by_left: Names | None = None,
        by_right: Names | None = None,
        strategy: Literal["backward", "forward"] = "backward",
        suffix: str = "_right",
        allow_exact_matches: bool = True,
        coalesce: bool = True,
    ) -> DataFrame:
        """Every row with the last one of `other` that is not later and equal in `by`, or with NULLs.

        "forward" takes the first that is not earlier. `coalesce=False` keeps the other's `on` too.
        """
        return self._new(
            asof.join_asof(
                self.node, other.node, (on, left_on, right_on), (by, by_left, by_right), strategy,
                suffix, allow_exact_matches, coalesce,
            )
        )  # fmt: skip

    def union(self, *others: DataFrame) -> DataFrame:
        """The rows of all frames, duplicates kept, columns matched by name."""
        return self._new(shaping.union([self.node, *(other.node for other in others)]))

    def intersect(self, other: DataFrame, *, distinct: bool = True) -> DataFrame:
        """The rows that both frames have, each once or as often as both; columns by position."""
        return self._new(SetOperation(self.node, other.node, "intersect", not distinct))

    def except_(self, other: DataFrame, *, distinct: bool = True) -> DataFrame:
        """The rows without those of `other`, each once or as often as is left."""
        return self._new(SetOperation(self.node, other.node, "except", not distinct))

    # -- layout and the user's own code --------------------------------------------------------

    def repartition(self, count: int | None = None, *keys: IntoColumn) -> DataFrame:
        """The same rows in `count` partitions, by hash of `keys` or dealt out evenly."""
        return self._new(shaping.repartition(self.node, count, keys))

    def sql(
        self,
        text: str,
        params: Sequence[object] | Mapping[str, object] | None = None,
        **frames: DataFrame,
    ) -> DataFrame:
        """A query in DuckDB's dialect over this frame, ``self``, and others by names of your own:
        ``df.sql("FROM self WHERE a NOT IN (SELECT b FROM other)", other=df2)``."""
        from flowgrid.api.statements import query_over

        nodes = {name: frame.node for name, frame in {"self": self, **frames}.items()}
        return self._new(query_over(text, params, nodes, self.engine))

    def map_batches(
        self,
        function: Callable[[Any], Any],
        schema: pa.Schema | Mapping[str, IntoType],
        *,
        batch_rows: int = 0,
        deterministic: bool = True,
    ) -> DataFrame:
        """The user's function over Arrow batches, in executors; `schema` is what it returns.

        It gets a `pyarrow.RecordBatch` of `batch_rows` rows (0: as they come) and returns or
        yields batches or tables. Say so if the same rows do not always give the same result.
        """
        return self._new(
            shaping.map_batches(self.node, function, schema, batch_rows, deterministic)
        )

    def pipe(
        self, function: Callable[Concatenate[DataFrame, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> T:
        """``function(self, …)``, for chains."""
        return function(self, *args, **kwargs)

    # -- what it is ----------------------------------------------------------------------------

    @property
    def columns(self) -> list[str]:
        return list(self.node.columns)

    @property
    def schema(self) -> pa.Schema:
        """Names and Arrow types of the columns, as `collect` returns them; runs nothing."""
        from flowgrid.io.arrow_types import plain_schema
        from flowgrid.logical.schema import arrow_schema

        return plain_schema(arrow_schema(self._fields()))

    def _fields(self) -> Any:
        from flowgrid.logical.schema import schema_of

        return schema_of(self.node)

    def explain(
        self, kind: Literal["logical", "optimized", "stages", "adaptive"] = "logical"
    ) -> str:
        """The plan as text: as it was asked, as the optimizer has it, or as stages.

        "adaptive" tells of the last run of this very frame what was changed as real sizes came in.
        Raises `PlanError` if there was none.
        """
        from flowgrid.api import display

        return display.plan_text(self.engine, self.node, kind)

    def __repr__(self) -> str:
        from flowgrid.api.display import schema_text

        return schema_text(self._fields())

    def _repr_html_(self) -> str:
        from flowgrid.api.display import schema_html

        return schema_html(self._fields())

    # -- actions -------------------------------------------------------------------------------

    def collect(self) -> pa.Table:
        """Run the plan and return all rows."""
        from flowgrid.api import results

        return results.collect(self.engine, self.node)

    to_arrow = collect

    def iter_batches(self) -> Iterator[pa.RecordBatch]:
        """Run the plan and return its rows batch by batch, in order."""
        from flowgrid.api import results

        return results.iter_batches(self.engine, self.node)

    def count(self) -> int:
        """Run the plan and return the number of its rows."""
        return int(self.agg(count()).collect().column(0)[0].as_py())

    def to_pandas(self) -> pandas.DataFrame:
        from flowgrid.api import results

        return results.to_pandas(self.collect())

    def to_polars(self) -> polars.DataFrame:
        from flowgrid.api import results

        return results.to_polars(self.collect())

    def to_pylist(self) -> list[dict[str, Any]]:
        return list(self.collect().to_pylist())

    def show(self, n: int = 10) -> None:
        """Run the plan as far as its first `n` rows and print them."""
        from flowgrid.api import display

        rows = self.limit(n + 1).collect()
        display.show(rows.slice(0, n), more=rows.num_rows > n)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Run the plan and hand its rows to any library that reads Arrow streams."""
        from flowgrid.api import results

        return results.reader(self.engine, self.node).__arrow_c_stream__(requested_schema)

    def __arrow_c_schema__(self) -> object:
        return self.schema.__arrow_c_schema__()

    # -- files ---------------------------------------------------------------------------------

    def write_parquet(
        self,
        path: IntoPath,
        *,
        mode: Mode = "error",
        partition_by: Names = (),
        compression: str | None = None,
        row_group_rows: int | None = None,
        target_file_bytes: int | str | None = None,
    ) -> None:
        """Run the plan and write a directory of Parquet files, visible all at once or not at all."""
        sizes = {"row_group_rows": row_group_rows, "target_file_bytes": target_file_bytes}
        self._write(path, "parquet", mode, partition_by, compression=compression, **sizes)

    def write_ipc(
        self,
        path: IntoPath,
        *,
        mode: Mode = "error",
        partition_by: Names = (),
        compression: Literal["lz4", "zstd"] | None = None,
    ) -> None:
        """As `write_parquet`, as Arrow IPC files."""
        self._write(path, "ipc", mode, partition_by, compression=compression)

    def write_csv(
        self,
        path: IntoPath,
        *,
        mode: Mode = "error",
        partition_by: Names = (),
        delimiter: str = ",",
        header: bool = True,
    ) -> None:
        """As `write_parquet`, as CSV files."""
        self._write(path, "csv", mode, partition_by, delimiter=delimiter, header=header)

    def write_json(self, path: IntoPath, *, mode: Mode = "error", partition_by: Names = ()) -> None:
        """As `write_parquet`, as files with one JSON object per line."""
        self._write(path, "json", mode, partition_by)

    def _write(
        self, path: IntoPath, format: str, mode: str, partition_by: Names, **options: object
    ) -> None:
        writing.write(self.engine, self.node, os.fspath(path), format, mode, partition_by, options)
