"""SQL text and its plan side by side in one DuckDB connection: both must give the same rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import duckdb

from flowgrid.api.sql import bind
from flowgrid.logical.dependent import DependentJoin
from flowgrid.logical.nodes import GivenTable, KernelQuery, Leaf, Node
from flowgrid.logical.rendering import select, topological
from flowgrid.protocol.fragment import Field
from tests.reference import define

DEFINITIONS = """
CREATE TABLE t (a INTEGER, b INTEGER, c VARCHAR, d DOUBLE);
INSERT INTO t VALUES (1, 10, 'x', 1.5), (1, 20, 'y', NULL), (2, 10, 'x', 2.5), (2, NULL, NULL, 0.0),
    (3, 30, 'z', 3.5), (NULL, 40, 'x', 1.0), (NULL, NULL, NULL, NULL), (3, 30, 'z', 3.5),
    (4, 5, 'w', 9.0);
CREATE TABLE u (k INTEGER, v INTEGER, w VARCHAR);
INSERT INTO u VALUES (1, 10, 'x'), (1, 30, 'y'), (2, NULL, 'x'), (2, 10, NULL), (NULL, 10, 'x'),
    (5, 50, 'q'), (1, 10, 'x'), (NULL, NULL, NULL);
CREATE TABLE v (a INTEGER, e BIGINT);
INSERT INTO v VALUES (1, 100), (2, 200), (2, 250), (NULL, 300), (7, 1);
CREATE TABLE s (id INTEGER, st STRUCT(x INTEGER, y STRUCT(z VARCHAR)), l INTEGER[]);
INSERT INTO s VALUES (1, {'x': 1, 'y': {'z': 'p'}}, [1, 2, 3]), (2, {'x': 5, 'y': NULL}, []),
    (3, NULL, NULL);
CREATE TABLE empty (k INTEGER, v INTEGER);
CREATE TABLE numbers (n VARCHAR, x DOUBLE);
INSERT INTO numbers VALUES ('1', 1), ('01', 2), ('2', 3), (NULL, 4), ('3', NULL);
"""


class Answers:
    """Tables in a connection, and the same as nodes to bind queries to."""

    def __init__(self, definitions: str = DEFINITIONS) -> None:
        self.folder = Path()  # of files with the same rows, if a test has made some
        self.connection = duckdb.connect(config={"threads": 1})
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute(definitions)
        names = [row[0] for row in self.connection.execute("SHOW TABLES").fetchall()]
        self.tables: dict[str, Node] = {name: self._node(name) for name in names}

    def _node(self, name: str) -> GivenTable:
        described = self.connection.execute(f"DESCRIBE {name}").fetchall()
        fields = tuple(Field(row[0], row[1]) for row in described)
        return GivenTable(fields, self.connection.table(name).to_arrow_table())

    def close(self) -> None:
        self.connection.close()

    def bind(self, text: str, **parameters: object) -> KernelQuery:
        return bind(text, self.tables, parameters or None)

    def plan(self, text: str) -> Node:
        """The partitioned plan of a query, which must have one."""
        query = self.bind(text)
        assert query.bound is not None, query.reason
        assert not any(isinstance(node, DependentJoin) for node in topological(query.bound))
        assert query.bound.columns == query.columns
        return query.bound

    def rows(self, plan: Node) -> list[tuple[object, ...]]:
        relations = {node: name for name, node in self.tables.items()}
        for leaf in topological(plan):
            if isinstance(leaf, Leaf) and leaf not in relations:
                relations[leaf] = f"leaf {len(relations)}"
                define(self.connection, relations[leaf], leaf)
        found: list[tuple[object, ...]] = self.connection.execute(
            select(plan, relations)
        ).fetchall()
        return found

    def expected(self, text: str) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = self.connection.execute(text).fetchall()
        return found

    def agree(self, text: str, in_order: bool = False) -> Node:
        """Checks that the plan of a query, and the query handed on whole, have the query's rows."""
        plan, expected = self.plan(text), self.expected(text)
        for node in (plan, self.bind(text)):
            found = self.rows(node)
            assert multiset(found) == multiset(expected), text
            assert not in_order or found == expected, text
        return plan


def multiset(rows: Iterable[tuple[object, ...]]) -> Counter[str]:
    """Rows by their text: NaN and lists can be counted so."""
    return Counter(map(repr, rows))


def one_task_parts(plan: Node) -> list[str]:
    """Why parts of a plan are queries of the kernel's, which run as one task each."""
    return [
        node.reason
        for node in topological(plan)
        if isinstance(node, KernelQuery) and node.reason != "one row"
    ]


def queries(text: str) -> list[str]:
    """One query a line; an indented line goes on with the query before it."""
    return text.strip().replace("\n    ", " ").split("\n")
