"""Verbs over one relation, and what a job leaves behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from flowgrid.expr.tree import Expr, quote, to_sql
from flowgrid.logical.nodes.node import NO_COLUMNS, Named, Node, SortKey, unique_names
from flowgrid.protocol.fragment import Field


@dataclass(frozen=True, eq=False)
class Project(Node):
    """These columns and no others."""

    input: Node
    expressions: tuple[Named, ...]

    def __post_init__(self) -> None:
        unique_names((named.name for named in self.expressions), "the selection")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(named.name for named in self.expressions)

    def query(self, names: Sequence[str]) -> str:
        selected = ", ".join(named.sql() for named in self.expressions) or NO_COLUMNS
        return f"SELECT {selected} FROM {names[0]}"

    def describe(self) -> str:
        return "Project " + ", ".join(named.shown() for named in self.expressions)


@dataclass(frozen=True, eq=False)
class SameColumns(Node):
    """A verb that leaves the columns of its input as they are."""

    input: Node

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return self.input.columns


@dataclass(frozen=True, eq=False)
class Filter(SameColumns):
    """Rows for which the predicate is true, not NULL."""

    predicate: Expr

    def query(self, names: Sequence[str]) -> str:
        return f"SELECT * FROM {names[0]} WHERE {to_sql(self.predicate)}"

    def describe(self) -> str:
        return f"Filter {to_sql(self.predicate)}"


@dataclass(frozen=True, eq=False)
class Aggregate(Node):
    """One row per distinct `keys`; without keys one row in all.

    `sets`, if given, are grouping sets: each a tuple of indexes into `keys`.
    """

    input: Node
    keys: tuple[Named, ...]
    aggregates: tuple[Named, ...]
    sets: tuple[tuple[int, ...], ...] | None = None

    def __post_init__(self) -> None:
        unique_names((named.name for named in self.keys + self.aggregates), "the aggregate")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(named.name for named in self.keys + self.aggregates)

    def query(self, names: Sequence[str]) -> str:
        selected = ", ".join(named.sql() for named in self.keys + self.aggregates)
        return f"SELECT {selected} FROM {names[0]}{self._group_by()}"

    def _group_by(self) -> str:
        if self.sets is not None:
            keys = [to_sql(named.expression) for named in self.keys]
            sets = ", ".join("(" + ", ".join(keys[i] for i in one) + ")" for one in self.sets)
            return f" GROUP BY GROUPING SETS ({sets})"
        if self.keys:  # by position: a key may be a constant, which GROUP BY takes for a position
            return " GROUP BY " + ", ".join(str(i + 1) for i in range(len(self.keys)))
        return ""

    def describe(self) -> str:
        keys = ", ".join(named.shown() for named in self.keys)
        return f"Aggregate {', '.join(n.shown() for n in self.aggregates)}" + (
            f" by {keys}" if keys else ""
        )


@dataclass(frozen=True, eq=False)
class Window(Node):
    """All columns of the input and one more per window expression."""

    input: Node
    expressions: tuple[Named, ...]

    def __post_init__(self) -> None:
        unique_names(self.columns, "the window")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return self.input.columns + tuple(named.name for named in self.expressions)

    def query(self, names: Sequence[str]) -> str:
        given = ["*"] if self.input.columns else []
        return f"SELECT {', '.join([*given, *(n.sql() for n in self.expressions)])} FROM {names[0]}"

    def describe(self) -> str:
        return "Window " + ", ".join(named.shown() for named in self.expressions)


@dataclass(frozen=True, eq=False)
class Sort(SameColumns):
    """Rows in order; with `limit`, the first of them after `offset` (a top-n)."""

    keys: tuple[SortKey, ...]
    limit: int | None = None
    offset: int = 0

    def query(self, names: Sequence[str]) -> str:
        order = ", ".join(key.sql() for key in self.keys)
        return f"SELECT * FROM {names[0]} ORDER BY {order}{_limit(self.limit, self.offset)}"

    def describe(self) -> str:
        return f"Sort {', '.join(key.sql() for key in self.keys)}{_limit(self.limit, self.offset)}"


@dataclass(frozen=True, eq=False)
class Limit(SameColumns):
    """The first `limit` rows (None: all) after `offset`."""

    limit: int | None
    offset: int = 0

    def query(self, names: Sequence[str]) -> str:
        return f"SELECT * FROM {names[0]}{_limit(self.limit, self.offset)}"

    def describe(self) -> str:
        return f"Limit{_limit(self.limit, self.offset)}"


def _limit(limit: int | None, offset: int) -> str:
    return (f" LIMIT {limit}" if limit is not None else "") + (
        f" OFFSET {offset}" if offset else ""
    )


@dataclass(frozen=True, eq=False)
class Distinct(SameColumns):
    """Each row once; with `on`, one row for each value of these columns, the first by `order`."""

    on: tuple[str, ...] | None = None
    order: tuple[SortKey, ...] = ()

    def query(self, names: Sequence[str]) -> str:
        if self.on is None:
            return f"SELECT DISTINCT * FROM {names[0]}"
        order = " ORDER BY " + ", ".join(key.sql() for key in self.order) if self.order else ""
        return f"SELECT DISTINCT ON ({', '.join(map(quote, self.on))}) * FROM {names[0]}{order}"

    def describe(self) -> str:
        return "Distinct" + (f" on {', '.join(self.on)}" if self.on is not None else "")


@dataclass(frozen=True, eq=False)
class Unnest(SameColumns):
    """One row per item of a list column; with `keep_empty`, a NULL for an empty or NULL list."""

    column: str
    keep_empty: bool = True

    def query(self, names: Sequence[str]) -> str:
        name = quote(self.column)
        items = (
            f"CASE WHEN len({name}) > 0 THEN {name} ELSE [NULL] END" if self.keep_empty else name
        )
        return f"SELECT * REPLACE (unnest({items}) AS {name}) FROM {names[0]}"

    def describe(self) -> str:
        return f"Unnest {self.column}"


@dataclass(frozen=True, eq=False)
class Sample(SameColumns):
    """Each row with probability `fraction`, the same rows on every run with the same `seed`."""

    fraction: float
    seed: int

    def query(self, names: Sequence[str]) -> str:
        # A row is drawn by its number and by one random() for the whole task, which the task's seed
        # fixes: threads that share a scan call random() in no order.
        draw = f"hash(row_number() OVER (), (SELECT random()), {self.seed})"
        return (
            f'SELECT * EXCLUDE ("#draw") FROM (SELECT *, {draw} AS "#draw" FROM {names[0]}) '
            f'WHERE "#draw" < {int(self.fraction * 2**64)}::UHUGEINT'
        )

    def describe(self) -> str:
        return f"Sample {self.fraction:g} seed {self.seed}"


@dataclass(frozen=True, eq=False)
class Repartition(SameColumns):
    """The same rows in `count` partitions (None: as many as suit), by hash of `keys` or dealt out."""

    count: int | None
    keys: tuple[Expr, ...] = ()

    def query(self, names: Sequence[str]) -> str:
        return f"SELECT * FROM {names[0]}"

    def describe(self) -> str:
        by = " by " + ", ".join(map(to_sql, self.keys)) if self.keys else ""
        return f"Repartition {self.count or ''}{by}"


@dataclass(frozen=True, eq=False)
class MapBatches(Node):
    """The user's function over record batches; see `flowgrid.protocol.fragment.PythonStep`."""

    input: Node
    function: bytes
    schema: bytes
    fields: tuple[Field, ...]
    label: str
    batch_rows: int = 0
    deterministic: bool = True

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    def describe(self) -> str:
        return f"MapBatches {self.label} [{', '.join(self.columns)}]"


@dataclass(frozen=True, eq=False)
class Write(Node):
    """Rows into files of `format` at `path`; published by the job's commit, all or none."""

    input: Node
    path: str
    format: str
    mode: str = "error"
    partition_by: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return ()

    def describe(self) -> str:
        return f"Write {self.format} {self.path} mode {self.mode}"
