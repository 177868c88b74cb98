"""How many rows and bytes a node will have: from footers, from predicates, from what has run.

`Estimator` keeps what it has found out for each node. Leaves with exact sizes win over everything: the
`actual` mapping for nodes that have run, and an `exact_size` attribute on a leaf. What a leaf with an
`origin` holds is known from the node that made it; a node that is `grouped_by` keys has their groups.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache

from sqlglot import exp

from flowgrid.expr.tree import Expr, conjuncts
from flowgrid.io.statistics import ColumnStatistics
from flowgrid.logical.nodes import (
    Aggregate,
    AsofJoin,
    Distinct,
    Filter,
    GivenTable,
    IntegerRange,
    Join,
    Leaf,
    Limit,
    Named,
    Node,
    Project,
    Sample,
    Scan,
    SetOperation,
    Sort,
    Union,
    Unnest,
    Window,
)
from flowgrid.logical.rendering import topological
from flowgrid.optimizer.join_estimates import Estimate, Size, joined
from flowgrid.optimizer.selectivity import ColumnEstimate, as_number, filtered
from flowgrid.optimizer.traits import plain_column

__all__ = ["Estimator", "Size", "estimate"]

_WIDTHS = {
    "BOOLEAN": 1, "TINYINT": 1, "UTINYINT": 1, "SMALLINT": 2, "USMALLINT": 2, "INTEGER": 4,
    "UINTEGER": 4, "FLOAT": 4, "DATE": 4, "BIGINT": 8, "UBIGINT": 8, "DOUBLE": 8, "TIME": 8,
    "TIMESTAMP": 8, "TIMESTAMP WITH TIME ZONE": 8, "HUGEINT": 16, "UHUGEINT": 16, "UUID": 16,
    "INTERVAL": 16, "VARCHAR": 24, "BLOB": 32,
}  # fmt: skip
_INTEGRAL = re.compile(r"U?(TINY|SMALL|BIG|HUGE)?INT(EGER)?|DATE|BOOLEAN")
_NESTED_WIDTH, _COMPUTED_WIDTH = 64.0, 8.0
_ROWS_PER_LIST = 4.0
_COMPRESSION = 3.0  # bytes in memory per byte of a file that does not tell its rows


@lru_cache(maxsize=1024)
def type_width(type_: str) -> float:
    """Bytes that one value of a kernel type takes, roughly."""
    if type_.startswith("DECIMAL"):
        digits = re.search(r"\((\d+)", type_)
        return 8.0 if digits and int(digits[1]) <= 18 else 16.0
    if type_.endswith("]") or type_.startswith(("STRUCT", "MAP", "UNION")):
        return _NESTED_WIDTH
    return float(_WIDTHS.get(type_, 16))


def estimate(node: Node, actual: Mapping[Node, Size] | None = None) -> Size:
    """Rows and bytes of a node; keep an `Estimator` to ask about many."""
    return Estimator(actual).size(node)


class Estimator:
    """Estimates of nodes, each made once. `actual` has the sizes of nodes that have run."""

    def __init__(self, actual: Mapping[Node, Size] | None = None) -> None:
        self._actual = actual or {}
        self._known: dict[Node, Estimate] = {}

    def size(self, node: Node) -> Size:
        exact = self._exact(node)
        return exact if exact is not None else self.estimate(node).size

    def estimate(self, node: Node) -> Estimate:
        known = self._known.get(node)
        if known is None:
            for below in topological(node):
                if below not in self._known:
                    self._known[below] = self._corrected(below, self._made(below))
            known = self._known[node]
        return known

    def _exact(self, node: Node) -> Size | None:
        exact: Size | None = self._actual.get(node)
        if exact is None and isinstance(node, Leaf):
            exact = getattr(node, "exact_size", None)
        return exact

    def _corrected(self, node: Node, found: Estimate) -> Estimate:
        exact = self._exact(node)
        if exact is None:
            return found
        scale = exact.bytes / found.size.bytes if found.size.bytes and exact.bytes else 1.0
        scale *= found.rows / exact.rows if exact.rows else 1.0
        return Estimate(
            exact.rows,
            {
                name: dataclasses.replace(column, width=column.width * scale)
                for name, column in found.columns.items()
            },
        )

    def _made(self, node: Node) -> Estimate:
        inputs = [self._known[child] for child in node.inputs]
        match node:
            case Leaf():
                origin: Node | None = getattr(node, "origin", None)
                if origin is not None:
                    return self.estimate(origin)
                return _of_leaf(node, self._exact(node))
            case Filter():
                share, columns = filtered(
                    conjuncts(node.predicate), inputs[0].columns, inputs[0].rows
                )
                return Estimate(inputs[0].rows * share, columns)
            case Project():
                return Estimate(inputs[0].rows, _computed(node.expressions, inputs[0]))
            case Aggregate():
                return _of_aggregate(node, inputs[0])
            case Window():
                more = _computed(node.expressions, inputs[0])
                return Estimate(inputs[0].rows, {**inputs[0].columns, **more})
            case Join():
                return joined(inputs[0], inputs[1], node.kind, tuple(conjuncts(node.condition)))
            case AsofJoin():
                return Estimate(inputs[0].rows, {**inputs[0].columns, **inputs[1].columns})
            case Union() | SetOperation():
                return _of_set(node, inputs)
            case _ if (keys := getattr(node, "grouped_by", None)) is not None:
                return _of_groups(node, keys, inputs[0])
            case _:
                return _of_same_columns(node, inputs)


def _of_same_columns(node: Node, inputs: list[Estimate]) -> Estimate:
    """Verbs that keep the columns; those without inputs or with others count as unknown."""
    rows = inputs[0].rows if inputs else 0.0
    match node:
        case Limit() | Sort():
            rest = max(0.0, rows - node.offset)
            return inputs[0].with_rows(rest if node.limit is None else min(rest, node.limit))
        case Distinct():
            names = node.on if node.on is not None else node.columns
            found = [inputs[0].columns.get(name.casefold()) for name in names]
            return inputs[0].with_rows(group_count(found, rows))
        case Sample():
            return inputs[0].with_rows(rows * node.fraction)
        case Unnest():
            return inputs[0].with_rows(rows * _ROWS_PER_LIST)
    if inputs and inputs[0].columns.keys() == {name.casefold() for name in node.columns}:
        return inputs[0]
    rows = max((given.rows for given in inputs), default=0.0)
    types = {field.name: field.type for field in getattr(node, "fields", ())}
    columns = {name.casefold(): _plain(types.get(name), node, rows) for name in node.columns}
    return Estimate(rows, columns)


def _plain(type_: str | None, origin: object, rows: float) -> ColumnEstimate:
    return ColumnEstimate(type_, type_width(type_) if type_ else _COMPUTED_WIDTH, origin, rows)


def _of_leaf(leaf: Leaf, exact: Size | None) -> Estimate:
    if exact is not None:
        rows = exact.rows
    elif isinstance(leaf, Scan):
        rows = _file_rows(leaf)
    elif isinstance(leaf, GivenTable):
        rows = float(leaf.table.num_rows)
    elif isinstance(leaf, IntegerRange):
        rows = float(len(range(leaf.start, leaf.stop, leaf.step)))
    else:
        rows = 0.0
    columns: dict[str, ColumnEstimate] = {}
    for field in leaf.fields:
        found = _plain(field.type, leaf, rows)
        if isinstance(leaf, IntegerRange) and rows:
            bounds = sorted((leaf.start, leaf.start + leaf.step * (int(rows) - 1)))
            found = dataclasses.replace(found, distinct=rows, minimum=bounds[0], maximum=bounds[1])
        elif isinstance(leaf, Scan):
            found = _with_statistics(found, leaf.dataset.column_statistics(field.name), rows)
        columns[field.name.casefold()] = found
    return Estimate(rows, columns)


def _file_rows(scan: Scan) -> float:
    known = scan.dataset.rows
    if known is not None:
        return float(known)
    width = sum(type_width(field.type) for field in scan.dataset.fields) or 1.0
    return scan.dataset.bytes * _COMPRESSION / width


def _with_statistics(
    column: ColumnEstimate, found: ColumnStatistics, rows: float
) -> ColumnEstimate:
    minimum, maximum = as_number(found.minimum), as_number(found.maximum)
    distinct = float(found.distinct) if found.distinct else None
    if minimum is not None and maximum is not None:
        whole_numbers = _INTEGRAL.fullmatch(column.type or "")
        most = maximum - minimum + 1 if whole_numbers else rows
        distinct = min(rows, most, distinct or rows)
    nulls = (found.null_count or 0) / rows if rows else 0.0
    return dataclasses.replace(
        column, minimum=minimum, maximum=maximum, distinct=distinct, nulls=nulls
    )


def _computed(expressions: Sequence[Named], given: Estimate) -> dict[str, ColumnEstimate]:
    return {named.name.casefold(): _of_expression(named.expression, given) for named in expressions}


def _of_expression(expression: Expr, given: Estimate) -> ColumnEstimate:
    name = plain_column(expression)
    if name is not None and name in given.columns:
        return given.columns[name]
    type_ = expression.to.sql(dialect="duckdb") if isinstance(expression, exp.Cast) else None
    found = _plain(type_, expression, given.rows)
    if isinstance(expression, exp.Extract) and str(expression.this).upper() == "YEAR":
        source = given.columns.get(plain_column(expression.expression) or "")
        if source is not None and source.minimum is not None and source.maximum is not None:
            years = (source.maximum - source.minimum) / 365.25
            return dataclasses.replace(found, distinct=max(1.0, years + 1))
    return found


def group_count(keys: Sequence[ColumnEstimate | None], rows: float) -> float:
    """How many different combinations of keys there are among so many rows."""
    if not keys:
        return 1.0
    count = 1.0
    for key in keys:
        if key is None or key.distinct is None:
            count *= max(1.0, rows**0.5)
        else:
            count *= max(1.0, key.distinct)
    return min(count, rows)


def _of_aggregate(node: Aggregate, given: Estimate) -> Estimate:
    found = _of_groups(node, node.keys, given)
    if node.sets is None:
        return found
    return found.with_rows(min(given.rows, found.rows) * max(1, len(node.sets)))


def _of_groups(node: Node, named: Sequence[Named], given: Estimate) -> Estimate:
    """One row per group of equal keys; the columns that are no keys are computed."""
    keys = _computed(named, given)
    rows = group_count(list(keys.values()), given.rows)
    grouped = {
        name: dataclasses.replace(
            key, origin=node, origin_rows=rows, distinct=rows if len(keys) == 1 else key.distinct
        )
        for name, key in keys.items()
    }
    values = {name.casefold(): _plain(None, node, rows) for name in node.columns}
    return Estimate(rows, {**values, **grouped})


def _of_set(node: Union | SetOperation, inputs: list[Estimate]) -> Estimate:
    if isinstance(node, Union):
        rows = sum(given.rows for given in inputs)
    elif node.operator.upper().startswith("EXCEPT"):
        rows = inputs[0].rows
    else:
        rows = min(given.rows for given in inputs)
    columns = {
        name: dataclasses.replace(column, minimum=None, maximum=None, distinct=None)
        for name, column in inputs[0].columns.items()
    }
    return Estimate(rows, columns)
