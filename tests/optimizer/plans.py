"""Plans for the tests of rules: small tables, a way to run a plan, and a grammar of random ones."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from flowgrid.expr.tree import Expr, column, literal, parse
from flowgrid.io.datasets import FileDataset
from flowgrid.io.listing import DataFile
from flowgrid.logical.nodes import (
    Aggregate,
    Distinct,
    Filter,
    GivenTable,
    Join,
    JoinKind,
    Leaf,
    Limit,
    Named,
    Node,
    Project,
    Scan,
    SetOperation,
    Sort,
    SortKey,
    Union,
    Window,
)
from flowgrid.logical.rendering import select, topological
from flowgrid.protocol.fragment import Field

Row = tuple[object, ...]


def given(name: str, rows: list[Row], **types: str) -> GivenTable:
    """A table whose columns are called ``name.column``; types are the kernel's."""
    fields = tuple(Field(f"{name}.{column}", type_) for column, type_ in types.items())
    arrow = {"INTEGER": pa.int32(), "BIGINT": pa.int64(), "VARCHAR": pa.string()}
    arrays = [
        pa.array([row[i] for row in rows], arrow[field.type]) for i, field in enumerate(fields)
    ]
    return GivenTable(fields, pa.table(arrays, names=[field.name for field in fields]))


def scan(folder: Path, name: str, rows: int, **expressions: str) -> Scan:
    """A scan of a Parquet file; each column is SQL over ``i``, the number of the row."""
    path = folder / f"{name}.parquet"
    with duckdb.connect() as connection:
        selected = ", ".join(f'{sql} AS "{name}.{column}"' for column, sql in expressions.items())
        connection.execute(
            f"COPY (SELECT {selected} FROM range({rows}) t(i)) TO '{path}' (FORMAT parquet)"
        )
        described = connection.execute(f"DESCRIBE FROM '{path}'").fetchall()
    return scan_of(path, tuple(Field(row[0], row[1]) for row in described))


def scan_of(path: Path, fields: tuple[Field, ...]) -> Scan:
    status = path.stat()
    file = DataFile(str(path), status.st_size, status.st_mtime_ns)
    dataset = FileDataset("parquet", path.name, (file,), fields, footers=(pq.read_metadata(path),))
    return Scan(fields, dataset)


def where(node: Node, predicate: str) -> Filter:
    return Filter(node, parse(predicate))


def project(node: Node, **expressions: str) -> Project:
    return Project(node, tuple(Named(name, parse(sql)) for name, sql in expressions.items()))


def join(left: Node, right: Node, kind: str, condition: str | None = None) -> Join:
    return Join(left, right, JoinKind(kind), None if condition is None else parse(condition))


def aggregate(node: Node, keys: list[str], **aggregates: str) -> Aggregate:
    return Aggregate(
        node,
        tuple(Named(key, column(key)) for key in keys),
        tuple(Named(name, parse(sql)) for name, sql in aggregates.items()),
    )


def execute(root: Node) -> list[Row]:
    """The rows of a plan, by the kernel in this process."""
    with duckdb.connect(config={"threads": 1}) as connection:
        names: dict[Node, str] = {}
        for node in topological(root):
            if not isinstance(node, Leaf):
                continue
            names[node] = f"leaf{len(names)}"
            if isinstance(node, GivenTable):
                table = node.table if node.fields else pa.table({"#none": [None] * len(node.table)})
                connection.register(names[node], table)
            else:
                assert isinstance(node, Scan)
                columns = ", ".join(f'"{field.name}"' for field in node.fields) or "NULL"
                path = node.dataset.files[0].path
                connection.execute(
                    f"CREATE VIEW {names[node]} AS SELECT {columns} FROM read_parquet('{path}')"
                )
        rows: list[Row] = connection.execute(select(root, names)).fetchall()
        return rows


def assert_same_rows(before: Node, after: Node) -> None:
    """Both plans have the same columns, and the same rows the same number of times."""
    assert after.columns == before.columns
    assert Counter(map(repr, execute(after))) == Counter(map(repr, execute(before)))


class Grammar:
    """Random plans over small tables with NULLs and duplicates; every column name is unique."""

    def __init__(self, random: random.Random) -> None:
        self._random = random
        self._count = 0
        self._made: list[Node] = []
        self._types: dict[str, str] = {}
        self._tables = [self._table(rows) for rows in (0, 3, 6, 9)]

    def plan(self, depth: int) -> Node:
        if depth == 0:
            return self._renamed(self._random.choice(self._tables))
        steps: list[Callable[[int], Node]] = [
            self._filter, self._filter, self._project, self._join, self._join, self._join,
            self._aggregate, self._window, self._union, self._distinct, self._top, self._shared,
        ]  # fmt: skip
        node = self._random.choice(steps)(depth - 1)
        self._made.append(node)
        return node

    def _table(self, rows: int) -> GivenTable:
        ints = [None, 0, 1, 2, 3]
        texts = [None, "a", "ab", "b"]
        values: list[Row] = [
            (self._random.choice(ints), self._random.choice(ints), self._random.choice(texts))
            for _ in range(rows)
        ]
        table = given(f"t{rows}", values, k="INTEGER", v="INTEGER", s="VARCHAR")
        self._types.update({field.name: field.type for field in table.fields})
        return table

    def _new(self, type_: str) -> str:
        self._count += 1
        self._types[f"c{self._count}"] = type_
        return f"c{self._count}"

    def _renamed(self, node: Node) -> Node:
        return Project(
            node,
            tuple(Named(self._new(self._types[name]), column(name)) for name in node.columns),
        )

    def _of(self, node: Node, type_: str) -> list[str]:
        return [name for name in node.columns if self._types[name] == type_]

    def _predicate(self, names: tuple[str, ...], depth: int = 2) -> Expr:
        choice = self._random.randrange(12)
        if depth and choice < 5:
            one, two = (self._predicate(names, depth - 1) for _ in range(2))
            operator = self._random.choice(["({}) AND ({})", "({}) OR ({})", "NOT ({})"])
            return parse(operator.format(one.sql("duckdb"), two.sql("duckdb")))
        name = self._random.choice(names)
        quoted = f'"{name}"'
        if choice == 5:
            return parse(f"{quoted} IS {self._random.choice(['', 'NOT '])}NULL")
        if self._types[name] == "VARCHAR":
            return parse(f"{quoted} {self._random.choice(['LIKE', '=', '<>', '<'])} 'a'")
        same = [other for other in names if self._types[other] == "INTEGER" and other != name]
        if choice in (6, 7) and same:
            other = self._random.choice(same)
            return parse(f'{quoted} {self._random.choice(["=", "<", "="])} "{other}"')
        value = self._random.randrange(4)
        pattern = self._random.choice(
            ["{} = {}", "{} < {}", "{} >= {}", "{} IN (1, {})", "coalesce({}, 0) = {}",
             "{} BETWEEN 1 AND {}", "{} = 1 + {}", "{} > 1 AND 1 = {}"]
        )  # fmt: skip
        return parse(pattern.format(quoted, value))

    def _filter(self, depth: int) -> Node:
        below = self.plan(depth)
        return Filter(below, self._predicate(below.columns))

    def _project(self, depth: int) -> Node:
        below = self.plan(depth)
        kept = [name for name in below.columns if self._random.random() < 0.7]
        expressions = [Named(self._new(self._types[name]), column(name)) for name in kept]
        ints = self._of(below, "INTEGER")
        if ints:
            sql = f'CAST("{self._random.choice(ints)}" + 1 AS INTEGER)'
            expressions.append(Named(self._new("INTEGER"), parse(sql)))
        expressions.append(Named(self._new("INTEGER"), literal(7)))
        return Project(below, tuple(expressions))

    def _join(self, depth: int) -> Node:
        left, right = self.plan(depth), self.plan(max(0, depth - 1))
        kind = self._random.choice(list(JoinKind))
        ours, theirs = self._of(left, "INTEGER"), self._of(right, "INTEGER")
        if kind is JoinKind.CROSS or not ours or not theirs:
            return Filter(join(left, right, "cross"), self._predicate(left.columns + right.columns))
        pair = f'"{self._random.choice(ours)}" = "{self._random.choice(theirs)}"'
        condition = parse(pair)
        if self._random.random() < 0.5:
            more = self._predicate(left.columns + right.columns)
            condition = parse(f"{pair} AND ({more.sql('duckdb')})")
        return Join(left, right, kind, condition)

    def _aggregate(self, depth: int) -> Node:
        below = self.plan(depth)
        keys = [name for name in below.columns if self._random.random() < 0.4]
        value = self._random.choice(below.columns)
        named = tuple(Named(self._new(self._types[name]), column(name)) for name in keys)
        sets = None
        if len(keys) > 1 and self._random.random() < 0.4:
            sets = (tuple(range(len(keys))), (0,), ())[: self._random.randrange(1, 4)]
        return Aggregate(
            below,
            named,
            (
                Named(self._new("INTEGER"), parse("CAST(count(*) AS INTEGER)")),
                Named(self._new(self._types[value]), parse(f'max("{value}")')),
            ),
            sets,
        )

    def _window(self, depth: int) -> Node:
        below = self.plan(depth)
        key, value = self._random.choice(below.columns), self._random.choice(below.columns)
        name = self._new(self._types[value])
        return Window(below, (Named(name, parse(f'max("{value}") OVER (PARTITION BY "{key}")')),))

    def _union(self, depth: int) -> Node:
        one = self.plan(depth)
        other = self._shaped_like(one, self.plan(max(0, depth - 1)))
        operator = self._random.choice(["union", "union", "intersect", "except"])
        if operator == "union":
            return Union((one, other))
        return SetOperation(one, other, operator, self._random.random() < 0.5)

    def _shaped_like(self, pattern: Node, node: Node) -> Node:
        expressions = []
        for name in pattern.columns:
            found = self._of(node, self._types[name])
            value = column(self._random.choice(found)) if found else literal(None)
            expressions.append(Named(self._new(self._types[name]), value))
        return Project(node, tuple(expressions))

    def _distinct(self, depth: int) -> Node:
        return Distinct(self.plan(depth))

    def _top(self, depth: int) -> Node:
        """A limit over a sort by all columns, so that the rows are the same each time."""
        below = self.plan(depth)
        keys = tuple(SortKey(column(name)) for name in below.columns)
        rows, offset = self._random.randrange(5), self._random.randrange(2)
        if self._random.random() < 0.5:
            return Sort(below, keys, rows, offset)
        return Limit(self._renamed(Sort(below, keys)), rows, offset)

    def _shared(self, depth: int) -> Node:
        if not self._made:
            return self.plan(depth)
        return self._renamed(self._random.choice(self._made))
