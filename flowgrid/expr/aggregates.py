"""Which functions make one value of many rows."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from flowgrid.expr.tree import Expr, to_sql

_UNTYPED_AGGREGATES = frozenset(
    """
    any_value arbitrary arg_max_null arg_max_nulls_last arg_min_null arg_min_nulls_last bitstring_agg
    combine_aggr count_star decimal_average entropy favg fsum histogram histogram_exact kahan_sum
    kurtosis_pop lttb mad mean product reservoir_quantile sem sum_no_overflow sumkahan
    variant_group_object
    """.split()  # noqa: SIM905, as a list it would be 26 lines
)
"""Aggregates of the kernel that sqlglot knows by name only."""

_WINDOW_ONLY = (
    exp.CumeDist,
    exp.DenseRank,
    exp.FirstValue,
    exp.Grouping,
    exp.GroupingId,
    exp.Lag,
    exp.LastValue,
    exp.Lead,
    exp.Ntile,
    exp.NthValue,
    exp.PercentRank,
    exp.Rank,
    exp.RowNumber,
)
"""sqlglot files most of these under aggregates; the kernel wants OVER (…) or GROUPING SETS."""


def is_aggregate(node: Expr) -> bool:
    """Whether the node itself calls an aggregate."""
    if isinstance(node, exp.Anonymous):
        return node.name.lower() in _UNTYPED_AGGREGATES
    return isinstance(node, exp.AggFunc) and not isinstance(node, _WINDOW_ONLY)


def has_aggregate(expression: Expr) -> bool:
    """Whether the expression needs a group: an aggregate that no OVER (…) makes a window."""
    return any(is_aggregate(node) for node in expression.walk(prune=_is_window))


def columns_outside_aggregates(expression: Expr, keys: frozenset[str]) -> Iterator[str]:
    """Names of columns whose values the expression takes from single rows.

    `keys` are the texts of expressions that have one value per group, as `to_sql` gives them.
    """

    def one_per_group(node: Expr) -> bool:
        whole = isinstance(node, exp.Filter | exp.WithinGroup) or is_aggregate(node)
        return whole or to_sql(node) in keys

    for node in expression.walk(prune=one_per_group):
        if isinstance(node, exp.Column) and to_sql(node) not in keys:
            yield node.name


def _is_window(node: Expr) -> bool:
    return isinstance(node, exp.Window)
