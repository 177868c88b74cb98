"""What was asked, as an immutable tree: one node per verb, checked by its constructor.

A node knows its inputs, its column names, and the one SQL query that it is over its inputs'
relations (`query`). That is all the kernel needs, and all the type oracle needs
(`flowgrid.logical.schema`). Column names are unique within a node without regard to case, and the two
inputs of a join share none; whoever builds a join renames first.

Nodes are compared by identity: a node that is used twice is a shared subplan.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import TYPE_CHECKING

from sqlglot import exp

from flowgrid.errors import PlanError
from flowgrid.expr.tree import Expr, quote, to_sql
from flowgrid.protocol.fragment import Field

if TYPE_CHECKING:
    import pyarrow as pa

    from flowgrid.io.datasets import FileDataset


NO_COLUMNS = 'NULL AS "#none"'
"""A relation without columns still has rows to count, and SQL needs something to select."""


class JoinKind(StrEnum):
    INNER = "inner"
    LEFT = "left"
    RIGHT = "right"
    FULL = "full"
    SEMI = "semi"
    ANTI = "anti"
    CROSS = "cross"

    @property
    def keeps_right_columns(self) -> bool:
        return self not in (JoinKind.SEMI, JoinKind.ANTI)


@dataclass(frozen=True, eq=False)
class Named:
    """An expression and the column it becomes."""

    name: str
    expression: Expr

    def sql(self) -> str:
        return f"{to_sql(self.expression)} AS {quote(self.name)}"

    def shown(self) -> str:
        """For `explain`: without quotes, and without saying the same name twice."""
        same = isinstance(self.expression, exp.Column) and self.expression.name == self.name
        plain = isinstance(self.expression, exp.Column)
        text = self.expression.name if plain else to_sql(self.expression)
        return self.name if same else f"{text} AS {self.name}"


@dataclass(frozen=True, eq=False)
class SortKey:
    expression: Expr
    descending: bool = False
    nulls_first: bool = False

    def sql(self) -> str:
        order = "DESC" if self.descending else "ASC"
        nulls = "FIRST" if self.nulls_first else "LAST"
        return f"{to_sql(self.expression)} {order} NULLS {nulls}"


@dataclass(frozen=True, eq=False)
class Node:
    """A relation: rows with named columns."""

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The relations this one is made of, in the order of its `Node` fields."""
        found: list[Node] = []
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Node):
                found.append(value)
            elif isinstance(value, tuple) and value and isinstance(value[0], Node):
                found.extend(value)
        return tuple(found)

    def with_inputs(self, inputs: Sequence[Node]) -> Node:
        """The same verb over other relations; itself when they are the same ones."""
        if all(new is old for new, old in zip(inputs, self.inputs, strict=True)):
            return self
        rest = list(inputs)
        changes: dict[str, object] = {}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, Node):
                changes[field.name] = rest.pop(0)
            elif isinstance(value, tuple) and value and isinstance(value[0], Node):
                changes[field.name] = tuple(rest.pop(0) for _ in value)
        return dataclasses.replace(self, **changes)

    @property
    def columns(self) -> tuple[str, ...]:
        raise NotImplementedError

    def query(self, names: Sequence[str]) -> str:
        """The SELECT that this node is, over relations of these (quoted) names."""
        raise NotImplementedError

    def describe(self) -> str:
        """One line for `explain`."""
        return type(self).__name__


def unique_names(names: Iterable[str], where: str) -> tuple[str, ...]:
    """The names; raises `PlanError` if two are the same without regard to case."""
    seen: set[str] = set()
    kept = tuple(names)
    for name in kept:
        if name.casefold() in seen:
            raise PlanError(f"{where} would have two columns named {name!r}; rename one of them")
        seen.add(name.casefold())
    return kept


# -- leaves ----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Leaf(Node):
    """A relation that is read, not computed: a fragment binds it by name."""

    fields: tuple[Field, ...]

    @property
    def inputs(self) -> tuple[Node, ...]:
        return ()

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)


@dataclass(frozen=True, eq=False)
class Scan(Leaf):
    """Rows of files; `fields` are the columns to read, `dataset.fields` those there are."""

    dataset: FileDataset

    def describe(self) -> str:
        return f"Scan {self.dataset.label} [{', '.join(self.columns)}]"


@dataclass(frozen=True, eq=False)
class GivenTable(Leaf):
    """Rows that the driver holds in memory."""

    table: pa.Table

    def describe(self) -> str:
        return f"GivenTable {self.table.num_rows} rows [{', '.join(self.columns)}]"


@dataclass(frozen=True, eq=False)
class IntegerRange(Leaf):
    """The integers of ``range(start, stop, step)``, one BIGINT column."""

    start: int
    stop: int
    step: int

    def describe(self) -> str:
        return f"IntegerRange {self.start}..{self.stop} step {self.step}"


# -- verbs over one relation -----------------------------------------------------------------------


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
        return f"SELECT *, {', '.join(named.sql() for named in self.expressions)} FROM {names[0]}"

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
        return f"SELECT * FROM {names[0]} WHERE random() < {self.fraction!r}"

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


# -- verbs over several relations ------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Join(Node):
    """Pairs of rows for which `condition` is true; None is allowed for a cross join only."""

    left: Node
    right: Node
    kind: JoinKind
    condition: Expr | None = None

    def __post_init__(self) -> None:
        if (self.condition is None) != (self.kind is JoinKind.CROSS):
            raise PlanError(f"a {self.kind} join needs a condition, and a cross join has none")
        unique_names(self.left.columns + self.right.columns, "the join")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        kept = self.right.columns if self.kind.keeps_right_columns else ()
        return self.left.columns + kept

    def query(self, names: Sequence[str]) -> str:
        on = f" ON {to_sql(self.condition)}" if self.condition is not None else ""
        return f"SELECT * FROM {names[0]} {self.kind.upper()} JOIN {names[1]}{on}"

    def describe(self) -> str:
        on = f" on {to_sql(self.condition)}" if self.condition is not None else ""
        return f"Join {self.kind}{on}"


@dataclass(frozen=True, eq=False)
class Union(Node):
    """All rows of all inputs, columns matched by position and named as the first input's."""

    relations: tuple[Node, ...]

    def __post_init__(self) -> None:
        widths = {len(relation.columns) for relation in self.relations}
        if len(widths) != 1:
            raise PlanError(
                f"a union needs relations of one width; these have {sorted(widths)} columns"
            )

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return self.relations[0].columns

    def query(self, names: Sequence[str]) -> str:
        return " UNION ALL ".join(f"SELECT * FROM {name}" for name in names)


@dataclass(frozen=True, eq=False)
class SetOperation(Node):
    """INTERSECT or EXCEPT (`operator`), with `all` as multisets."""

    left: Node
    right: Node
    operator: str
    all: bool = False

    def __post_init__(self) -> None:
        if len(self.left.columns) != len(self.right.columns):
            raise PlanError(
                f"{self.operator} needs relations of one width; these have "
                f"{len(self.left.columns)} and {len(self.right.columns)} columns"
            )

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return self.left.columns

    def query(self, names: Sequence[str]) -> str:
        operator = self.operator.upper() + (" ALL" if self.all else "")
        return f"SELECT * FROM {names[0]} {operator} SELECT * FROM {names[1]}"

    def describe(self) -> str:
        return f"SetOperation {self.operator}{' all' if self.all else ''}"


@dataclass(frozen=True, eq=False)
class KernelQuery(Node):
    """SQL as the user wrote it, over whole relations: it runs as one task.

    `tree` reads input i as the table named ``#i``. `bound`, if there is one, is the same query as
    partitioned nodes, for plans with more than one partition; otherwise `reason` says why there is
    none, and the inputs are gathered.
    """

    relations: tuple[Node, ...]
    tree: Expr
    fields: tuple[Field, ...]
    bound: Node | None = None
    reason: str = ""

    @property
    def inputs(self) -> tuple[Node, ...]:
        return self.relations

    def with_inputs(self, inputs: Sequence[Node]) -> Node:
        if all(new is old for new, old in zip(inputs, self.relations, strict=True)):
            return self
        return dataclasses.replace(self, relations=tuple(inputs))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    def query(self, names: Sequence[str]) -> str:
        tree = self.tree.copy()
        for table in tree.find_all(exp.Table):
            if table.name.startswith("#"):
                table.set(
                    "this", exp.to_identifier(names[int(table.name[1:])].strip('"'), quoted=True)
                )
        return tree.sql(dialect="duckdb", comments=False)

    def describe(self) -> str:
        return "KernelQuery" + (f" (one task: {self.reason})" if self.reason else "")


# -- what a job leaves behind ----------------------------------------------------------------------


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
