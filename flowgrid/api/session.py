"""Session: where a query starts. `connect` starts a cluster or joins one.

A local cluster starts in the background, and before anything heavy is imported: sockets, sqlglot,
DuckDB and pyarrow load while scheduler and executors do. That is why functions here import what they
need.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from flowgrid.api.catalog import Catalog
from flowgrid.closing import Closing
from flowgrid.config import Config

if TYPE_CHECKING:
    import pyarrow as pa

    from flowgrid.api.dataframe import DataFrame
    from flowgrid.api.engine import Engine
    from flowgrid.io.listing import Paths
    from flowgrid.logical.nodes import Node


def connect(
    master: str | None = None,
    conf: Mapping[str, object] | None = None,
    name: str | None = None,
    keys: str | None = None,
    resume: str | None = None,
) -> Session:
    """A session with a cluster: "local", "local[N]", "local-cluster[E,S,M]" or "tcp://host:port".

    Without arguments it takes what `flowgrid submit` was given, or else "local". `keys` is the
    directory with this driver's keys for a cluster that asks for them. With `resume`, a name for this
    program, its next run goes on where one was killed, on a cluster that is still up. Raises
    `ConfigError` for a wrong master or setting, `ConnectError` when the cluster cannot be reached.
    """
    from flowgrid.submit.local_cluster import LocalCluster
    from flowgrid.submit.master import LocalMaster, parse_master, submitted_defaults

    submitted = submitted_defaults()
    named = {} if resume is None else {"resume.name": resume}
    config = Config.parse({**submitted.conf, **(conf or {}), **named})
    directory = keys or (str(submitted.keys) if submitted.keys else None)
    where = parse_master(master or submitted.master or "local", config)
    cluster = None
    if isinstance(where, LocalMaster):
        config = msgspec.structs.replace(config, resume_name="")  # it dies with its driver
        cluster = LocalCluster.start(where, config)
    try:
        from flowgrid.submit.execution import Engine  # sockets and messages: 60 ms

        engine = Engine(where, cluster, config, name or submitted.name or "", directory)
    except BaseException:
        if cluster is not None:
            cluster.close()
        raise
    return Session(engine)


class Session(Closing):
    """A driver's connection to a cluster, with its tables. Close it, or use it with `with`."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._catalog = Catalog()

    def close(self) -> None:
        """End the session, and the cluster if it was started for it."""
        self.engine.close()

    def _frame(self, node: Node) -> DataFrame:
        from flowgrid.api.dataframe import DataFrame

        return DataFrame(node, self.engine)

    # -- files ---------------------------------------------------------------------------------

    def read_parquet(self, paths: Paths, *, hive_partitioning: bool | None = None) -> DataFrame:
        """Parquet files of one schema, by path, directory, glob, URL or a list of these.

        Directories named ``column=value`` become columns unless `hive_partitioning` is False.
        Raises `InputError` for a missing or unreadable file, `SchemaMismatchError` for files that
        differ.
        """
        from flowgrid.api import reading

        return self._frame(reading.read_parquet(paths, {"hive_partitioning": hive_partitioning}))

    def read_csv(self, paths: Paths, **options: Any) -> DataFrame:
        """CSV files. Names, types and dialect are found from a sample unless `options` say them.

        Options are those of DuckDB's ``read_csv``: ``header=True, delimiter=";", schema={"a": "BIGINT"},
        types={…}, nullstr="-", dateformat="%d.%m.%Y"``, …
        """
        from flowgrid.api import reading

        return self._frame(reading.read_csv(paths, options))

    def read_json(self, paths: Paths, **options: Any) -> DataFrame:
        """JSON files, one object per line or arrays of objects; options of DuckDB's ``read_json``."""
        from flowgrid.api import reading

        return self._frame(reading.read_json(paths, options))

    def read_ipc(self, paths: Paths) -> DataFrame:
        """Arrow IPC files or streams of one schema."""
        from flowgrid.api import reading

        return self._frame(reading.read_ipc(paths))

    def read_text(self, paths: Paths) -> DataFrame:
        """The lines of text files as the column ``value``."""
        from flowgrid.api import reading

        return self._frame(reading.read_text(paths))

    # -- values of this process ----------------------------------------------------------------

    def from_arrow(self, data: object) -> DataFrame:
        """Rows of a pyarrow, pandas or Polars table, of batches, or of any Arrow stream."""
        from flowgrid.api import reading

        return self._frame(reading.from_arrow(data))

    def from_pylist(
        self, rows: Iterable[Mapping[str, object]], schema: pa.Schema | None = None
    ) -> DataFrame:
        """Rows as dicts."""
        from flowgrid.api import reading

        return self._frame(reading.from_pylist(rows, schema))

    def range(
        self, start: int, stop: int | None = None, step: int = 1, *, name: str = "id"
    ) -> DataFrame:
        """The integers of Python's ``range`` as one BIGINT column."""
        from flowgrid.errors import PlanError
        from flowgrid.logical.nodes import IntegerRange
        from flowgrid.protocol.fragment import Field

        if step == 0:
            raise PlanError("range needs a step that is not 0")
        first, last = (0, start) if stop is None else (start, stop)
        return self._frame(IntegerRange((Field(name, "BIGINT"),), first, last, step))

    # -- tables by name ------------------------------------------------------------------------

    def register(self, name: str, frame: DataFrame | object) -> None:
        """Give a frame (or what `from_arrow` takes) a name for `sql` and `table`."""
        from flowgrid.api.dataframe import DataFrame

        found = frame if isinstance(frame, DataFrame) else self.from_arrow(frame)
        self._catalog.register(name, found.node)

    def table(self, name: str) -> DataFrame:
        return self._frame(self._catalog.table(name))

    def sql(
        self, text: str, params: Sequence[object] | Mapping[str, object] | None = None
    ) -> DataFrame:
        """A query in DuckDB's dialect over tables by name; ``?``, ``$1`` and ``$name`` take `params`.

        Parameters are values, never text: None, numbers, text, bytes, dates, lists, dicts. Besides
        queries, which run when somebody asks for rows, there are statements, which run at once:
        ``CREATE [OR REPLACE] TABLE | VIEW name AS …``, ``DROP``, ``COPY … TO``, ``EXPLAIN
        [ANALYZE]``, ``DESCRIBE`` and ``SHOW TABLES``. Raises `PlanError` for what it does not know.
        """
        from flowgrid.api.statements import run

        return self._frame(run(text, params, self._catalog, self.engine))
