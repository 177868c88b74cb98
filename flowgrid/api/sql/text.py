"""SQL text as one logical node: the user's own query, and the same as partitioned nodes if need be.

One slot runs the query as it is. What it means in partitions is found when somebody plans for more, and
what finds it is imported then.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

from sqlglot import exp

from flowgrid.api.sql.kernel_queries import over_inputs
from flowgrid.api.sql.parsing import Parameters, parse_query
from flowgrid.api.sql.table_names import is_file, unknown_table
from flowgrid.expr.tree import Expr
from flowgrid.logical.nodes import KernelQuery, Node


def bind(text: str, tables: Mapping[str, Node], parameters: Parameters = None) -> KernelQuery:
    """The query as a node over `tables`, whose names are compared without regard to case.

    Raises `SqlSyntaxError` with the position; `PlanError` for an unknown table, a parameter without
    a value, or whatever else the kernel refuses; `ColumnNotFoundError` and `TypeMismatchError`. What
    the kernel refuses is heard when the query runs, if the process has not loaded the kernel yet.
    """
    return bind_tree(parse_query(text, parameters), tables)


def bind_tree(tree: Expr, tables: Mapping[str, Node]) -> KernelQuery:
    """As `bind`, for a query that is parsed."""
    names = {name.casefold(): name for name in tables}
    used: dict[str, Node] = {}
    # What few queries have is imported by those: a first answer waits for every import.
    if tree.find(exp.Pivot):
        from flowgrid.api.sql.pivots import refuse_open_pivots

        refuse_open_pivots(tree)
    if any(_may_be_a_scan(table, names) for table in tree.find_all(exp.Table)):
        from flowgrid.api.sql.table_functions import with_scans

        tree, used = with_scans(tree, names)

    def node_of(table: exp.Table) -> Node | None:
        """The table's node; None for a file that the kernel is to read."""
        key = table.name.casefold()
        if key not in used and key in names and not table.db:
            used[key] = tables[names[key]]
        if key in used:
            return used[key]
        if is_file(table):
            return None
        raise unknown_table(table, names)

    # As in DataFrame: nobody waits for the kernel's import only to hear early what it refuses.
    later = "duckdb" not in sys.modules
    query = over_inputs(tree, node_of, later=later)

    def partitioned() -> Node | str:
        from flowgrid.api.sql.binder import partitioned  # 30 ms

        return partitioned(tree, used, query.columns)

    return KernelQuery(query.relations, query.tree, query.described, partitioned)


def _may_be_a_scan(table: exp.Table, names: Mapping[str, str]) -> bool:
    """Whether a table is not simply one that is known by its name."""
    return not isinstance(table.this, exp.Identifier) or table.name.casefold() not in names
